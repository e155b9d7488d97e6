#!/usr/bin/perl
# TERM at random moments of the boot, from before QEMU runs until the guest has long been up: none is lost.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;
use Time::HiRes qw(sleep);

need('qemu-system-x86_64', 'mke2fs', 'dumpe2fs');

my $seed = $ENV{T_SEED} || int(rand(1e9));
srand($seed);
note("T_SEED=$seed");

# The moments are the subject here: this is no wait for anything.
for my $round (1 .. (($ENV{T_SOAK} || 50) < 50 ? 2 : 5)) {
	my @moments = sort { $a <=> $b } map { rand(2.5) } 1 .. 4;
	my @vms = map { supervise(guest => 'normal', machine => $_ % 2 ? 'pc' : 'q35') } 1 .. 4;

	for my $vm (@vms) {
		wait_until("the runtime directory", sub { -d $vm->dir });
	}
	my $start = time;
	for my $i (0 .. 3) {
		my $left = $start + $moments[$i] - time;
		sleep($left) if $left > 0;
		$vms[$i]->signal('TERM');
	}
	for my $i (0 .. 3) {
		my $what = sprintf('round %d, TERM %.3fs after the start', $round, $moments[$i]);
		$vms[$i]->ends_with(0, qr/the guest powered itself off/, $what);
		ok(disk_is_clean($vms[$i]{disk}), "$what: file system clean");
	}
}

done_testing;
