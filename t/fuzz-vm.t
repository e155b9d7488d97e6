#!/usr/bin/perl
# What `make fuzz` has found worth keeping, once more through the parser of definitions. Under .ci/run that is done with
# sanitizers.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;

my @files = glob "$top/fuzz/corpus-vm/*";
cmp_ok(scalar @files, '>', 100, 'there is a corpus');
my ($status, $out, $err) = run_command("$top/fuzz/replay-vm", @files);
is($status, 0, 'nothing is found') or diag($err);
is($out, @files . " files\n", 'all were read');

done_testing;
