#!/usr/bin/perl
# What QEMU gets from us and what it does not: names, environment, descriptors, signals, a wrapper.
use strict;
use warnings;
use Cwd qw(getcwd);
use Fcntl qw(F_SETFD);
use FindBin;
use lib $FindBin::Bin;
use POSIX ();
use T;

sub stop {
	my ($s, $what) = @_;
	$s->signal('TERM');
	$s->ends_with(0, qr/powered itself off/, $what);
}

sub environment {
	my ($s) = @_;
	return map { /^([^=]+)=(.*)$/s ? ($1 => $2) : () } split(/\0/, slurp('/proc/' . $s->qemu . '/environ'));
}

# Descriptor to what it is, of QEMU.
sub descriptors {
	my ($s) = @_;
	return map { m{/(\d+)$} => readlink($_) // '' } glob('/proc/' . $s->qemu . '/fd/*');
}

subtest 'names' => sub {
	my $name = sub {
		my $s = running(unnamed => 1, command => [@_]);
		($s->{name}) = $s->log =~ /^qemu-supervise: (\S+): QEMU runs/m;
		stop($s, "name $s->{name}");
		return $s->{name};
	};
	is($name->(fake_qemu('-name', 'web')), 'web', '-name NAME');
	is($name->(fake_qemu('-name', 'guest=web,process=x')), 'web', '-name guest=NAME,...');
	is($name->(fake_qemu('-name', 'web,debug-threads=on')), 'web', '-name NAME,...');
	is($name->(fake_qemu('-name', 'process=x,guest=web')), 'web', '-name ...,guest=NAME');
	is($name->('nice', fake_qemu('-name', 'web')), 'web', 'behind a wrapper');
	my $hash = $name->(fake_qemu());
	like($hash, qr/^vm-[0-9a-f]{8}$/, 'a hash otherwise');
	is($name->(fake_qemu()), $hash, 'the same for the same command');
	isnt($name->(fake_qemu('state=running')), $hash, 'another for another');
	is($name->(fake_qemu('-name', 'debug-threads=on')) =~ /^vm-/, 1, 'a -name without a name');
	my $s = running(command => [fake_qemu('-name', 'web')], name => 'mine');
	like($s->log, qr/: mine: QEMU runs/, '--name counts more');
	stop($s, '--name');
};

subtest 'environment' => sub {
	my %given = (NOTIFY_SOCKET => "\@$work", WATCHDOG_USEC => 60_000_000, T_HERE => "a b\nc", JOURNAL_STREAM => '1:2');
	my $s = running(fake => [], env => \%given);
	my %env = environment($s);
	is($env{$_}, undef, "$_ is gone") for qw(NOTIFY_SOCKET WATCHDOG_USEC WATCHDOG_PID);
	is($env{T_HERE}, $given{T_HERE}, 'others are kept');
	is($env{PATH}, $ENV{PATH}, 'PATH too');
	is($env{JOURNAL_STREAM}, '1:2', 'and that of stderr, which QEMU has too');
	stop($s, 'environment');
};

subtest 'descriptors' => sub {
	my $file = spew("$work/input", 'x');
	my $s = running(
		fake => [], options => ['--notify-fd', 9],
		setup => sub {
			chdir('/usr');
			POSIX::dup2(POSIX::open($file, POSIX::O_RDONLY()), $_) for 0, 8;
			POSIX::dup2(POSIX::open("$work/notified", POSIX::O_WRONLY() | POSIX::O_CREAT(), 0600), 9);
			POSIX::close($_) for 3 .. 7;
		}
	);
	wait_until('readiness', sub { slurp("$work/notified") eq "\n" });
	my %fd = descriptors($s);
	my @paths = values %fd;
	is(readlink('/proc/' . $s->qemu . '/cwd'), '/usr', 'the working directory');
	is($fd{0}, $file, 'standard input');
	is($fd{1}, "$s->{log}.out", 'standard output');
	is($fd{2}, $s->{log}, 'standard error');
	is($fd{8}, $file, 'a descriptor more');
	ok(!grep({ m{/notified$} } @paths), 'not that of --notify-fd');
	ok(!grep({ m{/lock$} } @paths), 'not the lock of the supervisor');
	is(scalar grep({ m{/vm\.lock$} } @paths), 1, 'the lock of the VM');
	is(scalar grep({ /^socket:/ } @paths), 3, 'two sockets that listen and one that was accepted');
	ok(!grep({ /eventpoll|signalfd/ } @paths), 'nothing of our loop');
	stop($s, 'descriptors');
};

subtest 'signals' => sub {
	my $s = running(fake => []);
	my ($blocked) = slurp('/proc/' . $s->qemu . '/status') =~ /^SigBlk:\s+([0-9a-f]+)$/m;
	my %blocked = map { $_ => (hex(substr($blocked, -8)) >> ($_ - 1)) & 1 } 1 .. 31;
	is($blocked{ POSIX->can("SIG$_")->() }, 1, "$_ is blocked") for qw(TERM INT HUP QUIT USR2);
	is($blocked{$_}, 1, "signal $_ is blocked") for 26, 27, 24, 25, 30;
	is($blocked{ POSIX->can("SIG$_")->() }, 0, "$_ is not") for qw(USR1 ALRM PIPE SEGV CHLD TSTP);
	like($blocked, qr/^f{7}/, 'the real-time signals are');
	kill($_, $s->qemu) for qw(TERM INT HUP QUIT PWR USR2 VTALRM PROF XCPU), 40, 64;
	is($s->qmp->status, 'running', 'and QEMU lives through them');
	stop($s, 'signals');
};

subtest 'wrappers' => sub {
	for my $wrapper (['nice', '-n', 5], ['env', 'T_X=1'], ['sh', '-c', 'exec "$@"', 'sh']) {
		my $s = running(command => [@$wrapper, fake_qemu()]);
		is($s->qemu, $s->state->{pid}, "$wrapper->[0]: vm.lock names the one pid");
		stop($s, $wrapper->[0]);
	}
	plan skip_all => 'needs root' if $> != 0;
	chmod(0755, $work);
	my $copy = spew("$work/fake-qemu", slurp((fake_qemu())[0]));	# a home directory may be closed to others
	chmod(0755, $copy);
	my $s = running(command => ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', $copy]);
	is((stat('/proc/' . $s->qemu))[4], 65534, 'setpriv: another user');
	stop($s, 'setpriv');
};

done_testing;
