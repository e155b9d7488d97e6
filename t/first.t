#!/usr/bin/perl
# A real VM, from its first signal to its clean end.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;

need('qemu-system-x86_64');

my $s = supervise(guest => 'normal');
$s->wait_console(qr/guest: listening/);
is($s->state->{'run-state'}, 'running', 'state.json tells the run state');
$s->signal('TERM');
$s->ends_with(0, qr/ended: the guest powered itself off \(status 0\); TERM: powerdown/);
ok(disk_is_clean($s->{disk}), 'file system clean');

done_testing;
