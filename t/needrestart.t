#!/usr/bin/perl
# needrestart(1), which restarts what uses libraries that were updated, as Ubuntu does by itself: it leaves VMs alone, of
# our unit and of others, because of what make install puts into its conf.d.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Nspawn;
use T;

need('cc');
Nspawn::need_host();

my $packages = "$top/build/needrestart";
is(system("$top/t/unpack", $packages, map { $_ eq 'needrestart' ? $_ : "lib$_-perl" }
	qw(needrestart intl module-find module-scandeps proc-processtable sort-naturally term-readkey)), 0, 'needrestart');
my $perl = join ':', glob("$packages/usr/share/perl5 $packages/usr/lib/*/perl5/*");
my $h = Nspawn->new($packages);

# A library that each of these has loaded.
spew("$work/library.c", "int library;\n");
is(system('cc', '-shared', '-fPIC', '-o', "$work/srv/library.so", "$work/library.c"), 0, 'a library');
my $preload = "[Service]\nEnvironment=LD_PRELOAD=/srv/library.so\n";
$h->vm('web', 'normal');
$h->drop_in('web', 'library.conf', $preload);
spew("$work/units/shop.service", "[Service]\nType=notify\nExecStart=qemu-supervise -n shop -- qemu-system-x86_64 -display none -m 64 -S\n"
	. "KillMode=process\nEnvironment=LD_PRELOAD=/srv/library.so\n");
spew("$work/units/other.service", "[Service]\nExecStart=tail -f /dev/null\nEnvironment=LD_PRELOAD=/srv/library.so\n");
system('cp', "$work/installed/etc/needrestart/conf.d/qemu-supervise.conf", "$work/srv/") == 0 or die "cp failed\n";
$h->boot;
my @units = ('qemu-supervise@web', 'shop', 'other');
$h->ok_does('systemctl', 'start', @units);

sub main_pid { return ($h->does('systemctl', 'show', '--value', '--property=MainPID', $_[0]))[1] =~ s/\n//r }

# All that it does by itself; ours: with our file.
sub needrestart {
	my ($ours) = @_;
	$h->ok_does('sh', '-c', "rm -rf /etc/needrestart; cp -r $packages/etc/needrestart /etc/" . ($ours ? ' && cp /srv/qemu-supervise.conf /etc/needrestart/conf.d/' : ''));
	$h->ok_does('sh', '-c', 'cp /srv/library.so /srv/new.so && mv /srv/new.so /srv/library.so');	# the update
	return $h->ok_does('env', "PERL5LIB=$perl", "PATH=$packages/usr/sbin:/usr/local/sbin:/usr/sbin:/usr/bin", 'perl', "$packages/usr/sbin/needrestart", '-r', 'a', '-m', 'a');
}

my %pid = map { $_ => main_pid($_) } @units;
my $said = needrestart(1);
like($said, qr/systemctl restart other\.service$/m, 'a service whose library was updated is restarted');
isnt(main_pid('other'), $pid{other}, 'in fact');
like($said, qr/deferred:\n(?: systemctl restart)? +qemu-supervise\@web\.service(?:\n systemctl restart)? shop\.service$/m, 'VMs are listed');
is(main_pid($_), $pid{$_}, "$_ goes on") for @units[0, 1];

needrestart(0);
isnt(main_pid($_), $pid{$_}, "$_ would be restarted without our file") for @units[0, 1];
$h->poweroff;
done_testing;
