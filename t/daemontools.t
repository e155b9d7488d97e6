#!/usr/bin/perl
# daemontools: the real svscan runs VMs; the service directory of examples/daemontools.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T qw(:DEFAULT !vmconf !vmconf_does);
use Init;

my $h = boot('daemontools', <<'EOT');
mkdir /etc/service
exec svscan /etc/service
EOT
my ($web, $db) = (vm('web', 'normal'), vm('db', 'slow-stop', delay => 2));

sub is_off { my ($vm) = @_; return sub { ($h->run('svstat', "/etc/service/vm-$vm->{name}"))[1] =~ /: down \d+ seconds, normally up$/ } }

# What a person does for each VM.
for my $name (qw(web db)) {
	my $conf = join '', map { "export $_='$ENV{$_}'\n" } grep { /^QEMU_SUPERVISE/ } sort keys %ENV;
	spew("$work/conf", $conf . "attend=$top/init/attend\n");
	$h->does('sh', '-ec', "cp -R $top/examples/daemontools /etc/vm-$name; cp $work/conf /etc/vm-$name; ln -s /etc/vm-$name /etc/service");
}
$h->wait_up($_) for $web, $db;

$h->supervisor_is_killed($web);
$h->qemu_dies($web);
$h->restarts($web, sub { $h->does('svc', '-t', '/etc/service/vm-web') });
$h->attendant_is_killed($web);
$h->guest_switches_off($web, is_off($web));
$h->definition_is_wrong($web, sub { $h->does('svc', '-u', '/etc/service/vm-web') }, is_off($web),
	sub { ($h->run('cat', '/etc/vm-web/log/main/current'))[1] });

$h->does('svc', '-u', '/etc/service/vm-web');
$h->wait_up($web);

# ---- the host goes down, as the file says ----
$h->does('sh', '-c', 'svc -d /etc/service/vm-*; while svstat /etc/service/vm-* | grep -q ": up "; do sleep 0.1; done');
Init::is_down($_) for $web, $db;
$h->cut;

done_testing;
