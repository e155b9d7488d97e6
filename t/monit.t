#!/usr/bin/perl
# monit: the real one watches a VM; examples/monit.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T qw(:DEFAULT !vmconf !vmconf_does);
use Init;

my $web = vm('web', 'slow-stop', delay => 1);
my $variables = join ' ', map { "$_=$ENV{$_}" } grep { /^QEMU_SUPERVISE_.*DIR$/ } sort keys %ENV;
my $check = slurp("$top/examples/monit/vm-web");
$check =~ s{/run/qemu-supervise/}{$ENV{QEMU_SUPERVISE_RUNTIME_DIR}/};
$check =~ s{env (?=QEMU)}{env $variables }g;
$check =~ s{"(/usr/local/libexec/qemu-supervise/again)}{"/usr/bin/env $variables $1};
spew("$work/monitrc", <<"EOT");
set daemon 1
set log $work/monit.log
set httpd unixsocket /run/monit.sock allow admin:monit
$check
EOT
chmod(0600, "$work/monitrc");
my $vmconf = $ENV{T_VMCONF} || "$top/vmconf";
# monit does not reap what is not its own child: process 1 does.
my $h = boot('monit', <<"EOT");
mkdir -p /usr/local/libexec/qemu-supervise /usr/local/bin /var/lib/monit /etc/monit
cp $top/examples/monit/again /usr/local/libexec/qemu-supervise/
ln -s $vmconf /usr/local/bin/vmconf
cp $work/monitrc /etc/monitrc
chmod 600 /etc/monitrc
exec perl -e 'fork or exec \@ARGV; 1 while wait > 0' monit -I -c /etc/monitrc
EOT

sub says { return ($h->run('monit', '-c', '/etc/monitrc', 'status', 'vm-web'))[1] }
sub is_off { return sub { says() =~ /Not monitored/ && slurp("$work/monit.log") =~ /unmonitor/ } }

$h->wait_up($web);	# as at boot
$h->supervisor_is_killed($web);
$h->qemu_dies($web);
$h->guest_switches_off($web, is_off());
$h->does('monit', 'start', 'vm-web');
$h->wait_up($web, {});
wait_until('monit', sub { says() =~ /status +OK/i });
$h->does('monit', 'stop', 'vm-web');
wait_until('the VM being down', sub { !-e "$ENV{QEMU_SUPERVISE_RUNTIME_DIR}/web" && says() =~ /Not monitored/ });
Init::is_down($web);
$h->cut;

done_testing;
