#!/usr/bin/perl
# A UPS, by NUT with its dummy-ups driver: examples/ups sheds VMs, starts them again, and shuts all of them down before
# upsmon's SHUTDOWNCMD returns.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use IO::Socket::INET;
use POSIX ();
use Power;
use T;

need_power();

my $nut = "$top/build/nut";
is(system("$top/t/unpack", $nut, qw(nut-server nut-client libupsclient6 libnss3 libnspr4 libwrap0)), 0, 'NUT');
my ($libraries) = map { s/\/libupsclient\.so\.6$//r } glob("$nut/{usr/,}lib/*/libupsclient.so.6");
my $port = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1')->sockport;
my $ups = "dummy\@127.0.0.1:$port";

mkdir("$work/$_") for qw(nut nut/state);
my ($before, $shutdown) = shutdown_words();

# ---- NUT ----

# The file that we give, with what upsmon, upssched and upsd are told besides.
sub example {
	my ($file, %replaced) = @_;
	my $text = slurp("$top/examples/ups/$file");
	for my $word (sort keys %replaced) {
		like($text, qr/\Q$word\E/, "$file has $word");
		$text =~ s/\Q$word\E/$replaced{$word}/g;
	}
	return $text;
}

sub config {
	my ($file, $text) = @_;
	spew("$work/nut/$file", $text);
	chmod(0600, "$work/nut/$file");
}

sub power {
	my ($status, $charge) = @_;
	spew("$work/nut/new", "ups.status: $status\nbattery.charge: $charge\n");
	rename("$work/nut/new", "$work/nut/dummy.dev") or die "dummy.dev: $!";
}

# A daemon in the foreground, in NUT's environment.
sub daemon {
	my ($program, @words) = @_;
	my $pid = fork // die "fork: $!";
	return $pid if $pid;
	%ENV = (%ENV, LD_LIBRARY_PATH => $libraries, NUT_CONFPATH => "$work/nut", map { ("NUT_${_}PATH" => "$work/nut/state") } qw(STATE PID ALTPID));
	chdir("$work/nut");
	open(STDIN, '<', '/dev/null');
	open(STDOUT, '>', "$work/nut/$program.log");
	open(STDERR, '>&', \*STDOUT);
	{ no warnings 'exec'; exec "$nut/lib/nut/$program", '-u', 'root', '-F', @words; }
	POSIX::_exit(127);
}

# upsd, which does not forget a forced shutdown as long as it lives, and upsmon.
sub watch {
	my @pids = map { daemon($_) } qw(upsd upsmon);
	wait_until(sub { 'upsmon: ' . ups_log() }, sub { slurp("$work/nut/upsd.log") =~ /logged into UPS/ });
	return @pids;
}

# upsmon has ended, its SHUTDOWNCMD, too.
sub watched {
	my ($upsd, $upsmon) = @_;
	waitpid($upsmon, 0);
	kill('TERM', $upsd);
	waitpid($upsd, 0);
}

power('OL', 100);
config('ups.conf', "maxretry = 1\n[dummy]\ndriver = dummy-ups\nport = dummy.dev\nmode = dummy-once\npollinterval = 1\n");
config('upsd.conf', "LISTEN 127.0.0.1 $port\nSTATEPATH $work/nut/state\n");
config('upsd.users', "[monitor]\npassword = secret\nupsmon primary\n");
config('upssched.conf', example('upssched.conf', '/usr/local/libexec/ups-vms' => $ups_vms, '/run/nut/' => "$work/nut/state/",
	'shed 300' => 'shed 1'));
config('upsmon.conf', example('upsmon.conf', '/sbin/upssched' => "$nut/sbin/upssched", '+WALL' => '',
	'/usr/local/libexec/ups-vms shutdown' => $before, '/sbin/shutdown -h +0' => $shutdown)
	. "MONITOR $ups 1 monitor secret primary\nRUN_AS_USER root\nPOLLFREQ 1\nPOLLFREQALERT 1\nFINALDELAY 0\nHOSTSYNC 1\nPOWERDOWNFLAG $work/nut/killpower\n");

make_vm('db', 1, 'normal');
make_vm('web', 5, 'slow-stop', delay => 2);
make_vm('batch', 10, 'normal');
vmconf_does('start', '--all');
my $driver = daemon('dummy-ups', '-a', 'dummy');
wait_until(sub { 'the driver: ' . ups_log() }, sub { -S "$work/nut/state/dummy-ups-dummy" });
my @watching = watch();
wait_listening(qw(db web batch));

subtest 'on battery for long: the least important go down, and come back' => sub {
	isnt((run_command('pgrep', '-f', "$work/[a-z]*.disk"))[1], '', 'QEMU runs');
	power('OB', 80);
	wait_until(sub { 'batch being down: ' . ups_log() }, sub { state_of('batch')->{state} eq 'stopped' });
	ok(disk_is_clean("$work/batch.disk"), 'batch went down cleanly');
	is(state_of($_)->{state}, 'running', "$_ runs") for qw(web db);
	unlink("$work/batch.console");
	power('OL', 90);
	wait_until(sub { 'batch being up: ' . ups_log() }, sub { state_of('batch')->{state} eq 'running' });
	wait_listening('batch');
	wait_until('the list being forgotten', sub { !-e "$work/ups-vms/shed" });
	is((run_command('flock', '-n', "$work/ups-vms/lock", 'true'))[0], 0, 'no VM holds the lock of ups-vms');
};

subtest 'the battery is low: all go down before SHUTDOWNCMD returns' => sub {
	power('OB LB', 10);
	is(host_down(), "\n", 'the host is shut down');
	is(slurp("$work/shutdown.status"), "0\n", 'ups-vms shutdown: status 0') or diag(ups_log());
	is(slurp("$work/left"), '', 'no QEMU was left');
	for (qw(batch web db)) {
		ok(is_clean_then($_), "$_: file system clean then");
		like(log_of($_), qr/deadline from pid \d+ \(vmconf\): all over in \d+s.*powered itself off/s, "$_ was told of the deadline");
	}
	ok(ended('batch') <= ended('web') && ended('web') <= ended('db'), 'the most important ones last');
	watched(@watching);
	ok(-e "$work/nut/killpower", 'the UPS is to be switched off at the end');
};

subtest 'less time than the guests want' => sub {
	unlink("$work/down", "$work/nut/killpower", glob("$work/*.then"), glob("$work/*.console"));
	make_vm('web', 5, 'slow-stop', delay => 600);
	power('OL', 100);
	$ENV{UPS_VMS_WITHIN} = '16s';
	vmconf_does('start', '--all');
	wait_listening(qw(db web batch));
	@watching = watch();
	my $began = time;
	power('OB LB', 5);
	host_down();
	ok(time - $began < 60, 'it did not wait for the guest');
	is(slurp("$work/shutdown.status"), "80\n", 'ups-vms shutdown tells');
	like(slurp("$work/shutdown.out"), qr/web is down, but was not shut down: .*quit/, 'and which one was cut off');
	ok(!is_clean_then('web'), 'web: cut off');
	ok(is_clean_then($_), "$_: file system clean then") for qw(batch db);
	is(slurp("$work/left"), '', 'no QEMU was left');
	watched(@watching);
};

kill('TERM', $driver);
waitpid($driver, 0);
wait_until('upssched being gone', sub { !children($$) });
done_testing;
