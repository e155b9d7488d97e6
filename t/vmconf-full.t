#!/usr/bin/perl
# The disk is full at each step of a change: afterwards there is the old state, or the new one.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;

need('qemu-img', 'unshare', 'mount');
need_that('unshare -m works', sub { system('unshare', '-m', 'true') == 0 });

my $vmconf = $ENV{T_VMCONF} || "$top/vmconf";

# Runs a script with both directories on a file system of so many pages, of which the sixth is spent first.
sub on_small {
	my ($pages, $script) = @_;
	return run_command('unshare', '-m', 'sh', '-c', <<"EOT");
mount -t tmpfs -o size=\$(( ($pages + 6) * 4096 )) none $work/small &&
export QEMU_SUPERVISE_CONFIG_DIR=$work/small/config QEMU_SUPERVISE_STATE_DIR=$work/small/state &&
mkdir $work/small/config $work/small/state || exit 99
list() { find $work/small -not -name .lock | sort | xargs -d '\\n' md5sum 2>/dev/null; find $work/small -type d | sort; }
$script
EOT
}

mkdir "$work/small";

# How many pages there are decides at which step there are no more.
my %seen;
for my $pages (0 .. 60) {
	my ($status, $out, $err) = on_small($pages, <<"EOT");
list >$work/before
"$vmconf" create web1 --disk 1G
status=\$?
list >$work/after
"$vmconf" check && echo checked
exit \$status
EOT
	my $same = slurp("$work/before") eq slurp("$work/after");
	my $whole = slurp("$work/after") =~ /web1\.json\n/ && slurp("$work/after") =~ /root\.qcow2\n/;
	ok($status == 0 ? $whole && $out =~ /checked/ : $status == 1 && $same && $err =~ /No space left on device/,
		"create with $pages pages: all or nothing") or diag("status $status\n$err", slurp("$work/after"));
	$seen{$status}++;
}
ok($seen{0} && $seen{1}, 'some succeed, some do not');

# Space enough to create, then less and less to change.
my %what = (
	set => q(set web1 "description=) . 'x' x 5000 . q("),
	clone => 'clone web1 web2',
	rename => 'rename web1 web2',
	delete => 'delete web1',
);
for my $what (sort keys %what) {
	my %statuses;
	for my $left (0 .. 4, 8, 16, 32, 64, 90) {
		my ($status, $out, $err) = on_small(250, <<"EOT");
"$vmconf" create web1 --disk 1G || exit 99
free=\$(stat -f -c %f $work/small)
[ \$free -le $left ] || head -c \$(( (free - $left) * 4096 )) /dev/zero >$work/small/filler
list >$work/before
"$vmconf" $what{$what}
status=\$?
list >$work/after
"$vmconf" check && echo checked
exit \$status
EOT
		my $same = slurp("$work/before") eq slurp("$work/after");
		ok($out =~ /checked/ && ($status == 0 ? !$same : $status == 1 && $same && $err =~ /No space left on device/),
			"$what with $left pages left: all or nothing") or diag("status $status\n$err");
		$statuses{$status}++;
	}
	ok($statuses{0} && $statuses{1}, "$what: some succeed, some do not");
}

done_testing;
