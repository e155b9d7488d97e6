#!/usr/bin/perl
# supervisord: the real one runs VMs and shuts them down; examples/supervisord/vm-web.conf.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T qw(:DEFAULT !vmconf !vmconf_does);
use Init;

need('python3');
my $environment = join ',', map { qq($_="$ENV{$_}") } grep { /^QEMU_SUPERVISE_.*DIR$/ } sort keys %ENV;
my $programs = join '', map { slurp("$top/examples/supervisord/vm-web.conf") =~ s/\bweb\b/$_/gr } qw(web db);
my $log = "$work/web.log";
$programs =~ s{^command=qemu-supervise (\w+)$}{"command=" . ($ENV{T_SUPERVISE} || "$top/qemu-supervise") . " $1\nautostart=false\nstdout_logfile=$work/$1.log"}gem;
spew("$work/supervisord.conf", <<"EOT");
[supervisord]
nodaemon=true
environment=$environment
[unix_http_server]
file=/run/supervisor.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix:///run/supervisor.sock
$programs
EOT
my ($web, $db) = (vm('web', 'normal'), vm('db', 'slow-stop', delay => 11));	# 11: longer than supervisord's own patience
my $h = boot('supervisor', "cd /run; exec supervisord -c $work/supervisord.conf");
my @ctl = ('supervisorctl', '-c', "$work/supervisord.conf");

sub is_off { return sub { ($h->run(@ctl, 'status', 'vm-web'))[1] =~ /EXITED|STOPPED/ } }

wait_until('supervisord', sub { ($h->run(@ctl, 'pid'))[0] == 0 });
$h->does(@ctl, 'start', 'vm-web', 'vm-db');
$h->wait_up($_) for $web, $db;
$h->supervisor_is_killed($web);
$h->qemu_dies($web);
$h->restarts($web, sub { $h->does(@ctl, 'restart', 'vm-web') });
$h->guest_switches_off($web, is_off());
$h->definition_is_wrong($web, sub { $h->run(@ctl, 'start', 'vm-web') }, is_off(), sub { slurp($log) });
$h->does(@ctl, 'start', 'vm-web');
$h->wait_up($web);
$h->does(@ctl, 'stop', 'vm-web');
Init::is_down($web);

# ---- supervisord ends, and all with it ----
$h->does(@ctl, 'start', 'vm-web');
$h->wait_up($web);
kill('TERM', $h->{init});
$h->off;
Init::is_down($_) for $web, $db;

done_testing;
