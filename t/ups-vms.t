#!/usr/bin/perl
# examples/ups/ups-vms back, with a vmconf that writes down what it starts: one VM that cannot be started is no hindrance.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;

need('flock');

my $shed = "$work/ups/shed";
mkdir $_ for "$work/bin", "$work/vms", "$work/ups";
spew("$work/bin/vmconf", <<"SH");
#!/bin/sh
# Of a VM there is a file, and what is in it keeps it from being started.
cd "$work/vms" || exit 1
case \$1 in
rehearse) echo "\$*"; cat "$work/rehearsal"; exit 1 ;;
list) echo 'NAME  STATE'; for name in *; do echo "\$name  stopped"; done ;;
start)
	shift
	for name; do [ -e "\$name" ] || { echo "vmconf: there is no VM \$name" >&2; exit 1; }; done
	for name; do
		[ ! -s "\$name" ] || exit 78
		echo "\$name" >>"$work/started"
	done
	;;
esac
SH
spew("$work/bin/id", "#!/bin/sh\necho 0\n");	# else it asks sudo
spew("$work/bin/logger", "#!/bin/sh\n[ \"\$3\" != -p ] || cat >$work/warned\n");
chmod 0755, glob "$work/bin/*";
$ENV{PATH} = "$work/bin:$ENV{PATH}";
$ENV{UPS_VMS_STATE} = "$work/ups";

# The status, what was started, and what is to be started the next time.
sub back {
	my ($status) = run_command("$top/examples/ups/ups-vms", 'back');
	my $started = join ' ', sort split /\n/, slurp("$work/started");
	unlink "$work/started";
	return [$status, $started, join ' ', sort split /\n/, slurp($shed)];
}

spew("$work/vms/$_", '') for qw(db mail web);
is_deeply(back(), [0, '', ''], 'none was shed');
spew($shed, "web\ndb\nweb\n");
is_deeply(back(), [0, 'db web', ''], 'those that were shed are started, once');
ok(!-e $shed, 'and forgotten');
spew($shed, "web\ngone\ndb\n");
is_deeply(back(), [0, 'db web', ''], 'one that is gone meanwhile is forgotten, and the others are started');
like(slurp("$work/ups/log"), qr/there is no VM gone/, 'it is told');
spew($shed, "gone\nmail\nweb\n");
spew("$work/vms/mail", 'broken');
is_deeply(back(), [1, 'web', 'mail'], 'one that failed fails, and is tried again');
spew("$work/vms/mail", '');
is_deeply(back(), [0, 'mail', ''], 'when it is mended it starts');
is_deeply(back(), [0, '', ''], 'and no more');
is(join(' ', map { s/.*\///r } sort glob "$work/ups/*"), 'lock log', 'nothing else is left');

spew("$work/rehearsal", "not all would be down\n");
is((run_command("$top/examples/ups/ups-vms", 'rehearse'))[0], 0, 'a rehearsal never fails');
is(slurp("$work/warned"), "rehearse --within 90s\nnot all would be down\n", 'but warns');

done_testing;
