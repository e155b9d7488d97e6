#!/usr/bin/perl
# What `make fuzz` has found worth keeping, once more through each of its targets. Under .ci/run that is done with
# sanitizers.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;

my @targets = map { m{/fuzz-(\w+)\.c$} } glob "$top/fuzz/fuzz-*.c";
cmp_ok(scalar @targets, '>', 5, 'there are targets');
local $ENV{TMPDIR} = $work;
for my $target (@targets) {
	my @files = glob "$top/fuzz/corpus-$target/*";
	cmp_ok(scalar @files, '>', 3, "$target: there is a corpus");
	my ($status, $out, $err) = run_command("$top/fuzz/replay-$target", @files);
	is($status, 0, "$target: nothing is found") or diag($err);
	is($out, @files . " files\n", "$target: all were read");
}
is_deeply([glob "$work/fuzz-*"], [], 'nothing is left behind');

done_testing;
