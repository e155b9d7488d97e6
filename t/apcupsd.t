#!/usr/bin/perl
# A UPS, by a real apcupsd, which asks another one for the state of the UPS: us. The scripts of examples/ups shed a VM,
# start it again, and have all of them down before the host goes.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use IO::Socket::INET;
use POSIX ();
use Power;
use T;

need_power();
my $apc = "$top/build/apcupsd";
is(system("$top/t/unpack", $apc, qw(apcupsd libusb-0.1-4 libwrap0)), 0, 'apcupsd');
my $libraries = join ':', glob("$apc/{usr/,}lib/*-linux-gnu");
my ($before, $shutdown) = shutdown_words();
mkdir("$work/apc");

# ---- the UPS ----

# Who asks gets the state in the file: apcupsd's network protocol, lines with their lengths before them.
sub serve {
	my ($server) = @_;
	while (my $client = $server->accept) {
		while (sysread($client, my $length, 2)) {
			sysread($client, my $command, unpack('n', $length));
			syswrite($client, join('', map { pack('n', length) . $_ } map { "$_\n" } split(/\n/, slurp("$work/apc/state"))) . pack('n', 0));
		}
	}
	POSIX::_exit(0);
}

sub power {
	my ($flag, $status, $charge) = @_;
	spew("$work/apc/new", join '', map { sprintf "%-9s: %s\n", @$_ } ['UPSNAME', 'test'], ['STATUS', $status], ['STATFLAG', sprintf('0x%08X', $flag)],
		['LINEV', $flag & 8 ? '230.0 Volts' : '0.0 Volts'], ['BCHARGE', "$charge.0 Percent"], ['TIMELEFT', $charge / 2 . '.0 Minutes']);
	rename("$work/apc/new", "$work/apc/state") or die "state: $!";
}

# ---- apcupsd ----

sub script {
	my ($event) = @_;
	my $text = slurp("$top/examples/ups/apcupsd.$event");
	my $program = $event eq 'doshutdown' ? $before : $ups_vms;
	$text =~ s{^(exec )?/usr/local/libexec/ups-vms}{($1 || '') . $program}me or die "$event";
	chmod(0755, spew("$work/apc/$event", $text));
}

script($_) for qw(onbattery offbattery doshutdown);
my $control = slurp("$apc/etc/apcupsd/apccontrol");
$control =~ s{^SCRIPTDIR=.*}{SCRIPTDIR=$work/apc}m or die 'SCRIPTDIR';
$control =~ s{^SHUTDOWN=.*}{SHUTDOWN=$shutdown}m or die 'SHUTDOWN';
chmod(0755, spew("$work/apc/apccontrol", $control));
my $server = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1');
spew("$work/apc/apcupsd.conf", "## apcupsd.conf v1.1 ##\nUPSNAME test\nUPSCABLE ether\nUPSTYPE net\nDEVICE 127.0.0.1:" . $server->sockport . "\nPOLLTIME 1\n"
	. join('', map { "$_ $work/apc\n" } qw(LOCKFILE SCRIPTDIR PWRFAILDIR NOLOGINDIR)) . "ONBATTERYDELAY 1\nBATTERYLEVEL 5\nMINUTES 3\nTIMEOUT 0\n"
	. "KILLDELAY 0\nNETSERVER off\nUPSCLASS standalone\nUPSMODE disable\nEVENTSFILE $work/apc/events\n");
power(0x08, 'ONLINE', 100);
my $ups = fork // die "fork: $!";
serve($server) if $ups == 0;

make_vm('db', 1, 'normal');
make_vm('batch', 10, 'normal');
vmconf_does('start', '--all');
wait_listening(qw(db batch));
my $apcupsd = fork // die "fork: $!";
if ($apcupsd == 0) {
	$ENV{LD_LIBRARY_PATH} = $libraries;
	open(STDOUT, '>', "$work/apc/apcupsd.log");
	open(STDERR, '>&', \*STDOUT);
	{ no warnings 'exec'; exec "$apc/sbin/apcupsd", '-b', '-f', "$work/apc/apcupsd.conf", '-P', "$work/apc/pid"; }
	POSIX::_exit(127);
}
sub events { return slurp("$work/apc/events") . ups_log() }
wait_until(sub { 'apcupsd: ' . events() }, sub { events() =~ /startup succeeded/ });

power(0x10, 'ONBATT', 80);
wait_until(sub { 'batch being down: ' . events() }, sub { state_of('batch')->{state} eq 'stopped' });
ok(disk_is_clean("$work/batch.disk"), 'on battery for ONBATTERYDELAY: batch went down cleanly');
is(state_of('db')->{state}, 'running', 'db runs');
unlink("$work/batch.console");
power(0x08, 'ONLINE', 90);
wait_until(sub { 'batch being up: ' . events() }, sub { state_of('batch')->{state} eq 'running' });
wait_listening('batch');
ok(1, 'the power is back: batch, too');

power(0x50, 'ONBATT LOWBATT', 3);
like(host_down(), qr/^-h now apcupsd UPS test initiated shutdown$/, 'the battery is low: the host is shut down');
is(slurp("$work/shutdown.status"), "0\n", 'ups-vms shutdown before that');
is(slurp("$work/left"), '', 'no QEMU was left');
ok(is_clean_then($_), "$_: file system clean then") for qw(batch db);
like(log_of('db'), qr/deadline from pid \d+ \(vmconf\): all over in \d+s.*powered itself off/s, 'db was told of the deadline');
ok(ended('batch') <= ended('db'), 'the most important one last');

kill('TERM', $apcupsd, $ups);
waitpid($_, 0) for $apcupsd, $ups;
done_testing;
