#!/usr/bin/perl
# All sequences of a few choices, in each of the explorer's settings: no rule of the design is broken (t/explore/explore.h).
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;

my $explorer = "$top/build/explorer";
need_that('the explorer is built (make build/explorer)', sub { -x $explorer });
delete @ENV{qw(EXPLORE_DEPTH EXPLORE_SETTING EXPLORE_FIRST EXPLORE_TRACE)};

subtest 'every sequence' => sub {
	my ($status, $out, $err) = run_command($explorer);
	is($status, 0, 'no rule is broken') or diag($out, $err);
	my @settings = $out =~ /^# (\S+): depth \d+, \d+ states/mg;
	cmp_ok(scalar @settings, '>=', 20, 'in all settings');
	my ($states) = $out =~ /^# default: depth 3, (\d+) states/m;
	cmp_ok($states // 0, '>', 5000, 'it went everywhere');
	note($out);
};

# What it prints of a violation can be pasted.
subtest 'one sequence' => sub {
	my ($status, $out) = run_command($explorer, qw(default TERM killed obey));
	is($status, 0, 'no rule is broken');
	like($out, qr/^---- TERM \(0 ms\)\n---- killed \(0 ms\)\n---- obey \(\d+ ms\)$/m, 'each choice');
	($status, $out) = run_command('env', 'EXPLORE_TRACE=1', $explorer, qw(default TERM killed obey));
	like($out, qr/TERM: resuming at powerdown.*ended: the guest powered itself off \(status 0\)/s, 'with the log of all its supervisors');
};

done_testing;
