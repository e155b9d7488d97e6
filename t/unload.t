#!/usr/bin/perl
# A guest that is deaf for ten seconds in the middle of its life, its driver being reloaded, is shut down all the same.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;

need('qemu-system-x86_64', 'mke2fs', 'dumpe2fs');

my $vm = supervise(guest => 'unload', delay => 10);

$vm->wait_console(qr/guest: unloaded/);
$vm->signal('TERM');
ok($vm->wait_log(qr/the guest does not listen to its power button yet; waiting for it/), 'it is deaf');
unlike($vm->console, qr/unloaded.*listening/s, 'and will be');
$vm->ends_with(0, qr/the guest powered itself off \(status 0\); TERM: powerdown/);
ok(disk_is_clean($vm->{disk}), 'file system clean');

# One that was seen listening is pressed at once; that nobody heard it is seen behind the press.
$vm = supervise(guest => 'unload', delay => 5, options => ['--ready', 'listening'], gate => 1);
ok($vm->wait_log(qr/the guest listens/), 'another is seen listening');
$vm->wait_console(qr/guest: listening/);
$vm->open_gate;
$vm->wait_console(qr/guest: unloaded/);
$vm->signal('TERM');
ok($vm->wait_log(qr/pressed\n.*any more: the press was not heard; waiting for it/), 'the press was not heard');
$vm->ends_with(0, qr/the guest powered itself off \(status 0\); TERM: powerdown/);
like($vm->log, qr/waiting for it.*\n.*pressed/, 'pressed again when it listened');
ok(disk_is_clean($vm->{disk}), 'file system clean');

done_testing;
