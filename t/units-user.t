#!/usr/bin/perl
# The C unit tests of somebody who is not root, as whom Debian's packages are mostly built. Root runs this as another user.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;

BEGIN {
	if ($> == 0 && !$^C) {
		delete @ENV{qw(HOME XDG_RUNTIME_DIR)};
		exec('setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', $^X, $0) or die "setpriv is not installed\n";
	}
}

use T;

my @units = map { s/\.c\z//r } glob "$top/t/unit-*.c";
need_that('the unit tests are built', sub { !grep { !-x } @units });
isnt($>, 0, 'not root');
delete $ENV{T_NO_SKIP};	# some of them are left out, for want of root
for my $unit (@units) {
	my ($status, $out, $err) = run_command($unit);
	is($status, 0, $unit =~ s/.*\///r) or diag($out, $err);
}

done_testing;
