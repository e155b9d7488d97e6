#!/usr/bin/perl
# Files that name a process which is not the one that they should name: it is neither taken over nor signalled.
use strict;
use warnings;
use Fcntl qw(O_RDWR);
use FindBin;
use lib $FindBin::Bin;
use POSIX ();
use T;

need('qemu-system-x86_64');

my ($state, $run) = map { $ENV{"QEMU_SUPERVISE_${_}_DIR"} } qw(STATE RUNTIME);
my $supervise = $ENV{QEMU_SUPERVISE} ||= $ENV{T_SUPERVISE} || "$top/qemu-supervise";

# A process that outlives whatever is sent to the wrong one, and its record.
my $victim = fork // die "fork: $!";
if ($victim == 0) { exec('sleep', 1000000) or POSIX::_exit(127) }
wait_until('it', sub { slurp("/proc/$victim/comm") eq "sleep\n" });
my ($start) = slurp("/proc/$victim/stat") =~ /.*\)(?: \S+){19} (\d+)/;
my $boot = slurp('/proc/sys/kernel/random/boot_id') =~ s/\n//r;

sub record { return sprintf("%-127s\n", "$victim $start $boot$_[0]") }

sub lives { ok(kill(0, $victim) && slurp("/proc/$victim/stat") =~ /\) [SR] /, "$_[0]: the other process lives") }

sub write_at {
	my ($path, $offset, $text) = @_;
	sysopen(my $fh, $path, O_RDWR) or die "$path: $!";
	sysseek($fh, $offset, 0);
	syswrite($fh, $text);
	close($fh);
}

subtest 'QEMU cannot write vm.lock' => sub {
	my $s = running(fake => [], name => 'readonly');
	my @fds = grep { (readlink($_) // '') =~ m{/vm\.lock$} } glob('/proc/' . $s->qemu . '/fd/*');
	is(scalar @fds, 1, 'it has one descriptor of it');
	my $info = slurp($fds[0] =~ s{/fd/}{/fdinfo/}r);
	my ($flags) = $info =~ /^flags:\s+(\d+)$/m;
	is(oct($flags) & 3, POSIX::O_RDONLY(), 'which is for reading');
	like($info, qr/^lock:\s.*OFDLCK\s+ADVISORY\s+READ .* 0 0$/m, 'and holds the lock');
	$s->signal('TERM');
	is($s->end, 0, 'readonly');
};

# As a QEMU of 0.1.0 could, or who else writes there.
subtest 'vm.lock names another process' => sub {
	my $s = running(fake => [], name => 'lies');
	my $qemu = $s->qemu;
	$s->lost;
	write_at("$state/lies/vm.lock", 0, record(' command'));
	my $next = $s->successor;
	is($next->end, 75, 'nothing is taken over');
	like($next->log, qr{VM lies: \S+/lies/vm.lock is held, but not by pid $victim that is named in it}, 'and why');
	lives('takeover');
	kill('KILL', $qemu);
	wait_until('its end', sub { !children($$) || !grep { $_ == $qemu && slurp("/proc/$_/stat") !~ /\) Z / } children($$) });
};

vmconf_does('create', 'web', quick());
vmconf_does('create', 'mail', quick());

subtest 'vmconf' => sub {
	vmconf_does('start', 'web');
	my $vm = state_of('web');
	kill('KILL', $vm->{supervisor});
	wait_until('unmanaged', sub { state_of('web')->{state} eq 'unmanaged' });
	my $good = slurp("$state/web/vm.lock");
	write_at("$state/web/vm.lock", 0, record(''));
	vmconf_fails(1, qr/web: cannot kill QEMU, pid $victim/, 'stop', '--kill', 'web');
	lives('stop --kill');
	write_at("$state/web/vm.lock", 0, $good);
	vmconf_does('stop', 'web');
};

# The supervisor's part of vm.lock, and the lock of the runtime directory: both name that of another VM.
subtest 'a stale lock and a pid that is used again' => sub {
	vmconf_does('start', 'mail');
	my $mail = state_of('mail');
	mkdir($_, 0700) for $run, "$run/web", "$state/web";
	spew("$run/web/lock", "$mail->{supervisor}\n");
	my ($signed) = slurp("$state/mail/vm.lock") =~ /\A.{128}(.{128})\z/s;
	spew("$state/web/vm.lock", "\0" x 128 . $signed);
	for ([TERM => 'stop', 'web'], [status => 'status', 'web']) {
		my ($what, @words) = @$_;
		run_command("$top/init/none", @words);
		is((run_command($supervise, '--signal', 'TERM', 'web'))[0], 3, "$what: it has no supervisor");
	}
	like(vmconf_does('stop', 'web'), qr/^web is not running$/m, 'vmconf stop');
	my $now = state_of('mail');
	is_deeply([@$now{qw(state supervisor pid)}], [@$mail{qw(state supervisor pid)}], 'the other VM runs');
	unlike(vmconf_does('log', 'mail'), qr/TERM from/, 'its supervisor was sent nothing');
	vmconf_does('stop', 'mail');
};

# A QEMU can lock for reading alone: it cannot pass for its supervisor, or for a vmconf.
subtest 'a reader holds all of vm.lock' => sub {
	vmconf_does('start', 'web');
	my $vm = state_of('web');
	open(my $fh, '<', "$state/web/vm.lock") or die $!;
	my $flock = pack('s s x4 q q l x4', 0, 0, 0, 0, 0);	# F_RDLCK
	kill('KILL', $vm->{supervisor});
	wait_until('unmanaged', sub { state_of('web')->{state} eq 'unmanaged' });
	fcntl($fh, 37, $flock) or die "F_OFD_SETLK: $!";
	is(state_of('web')->{state}, 'unmanaged', 'it is neither supervised nor being changed');
	close($fh);
	vmconf_does('stop', 'web');
};

# A link that a supervisor has made, and that by now leads to another process's descriptor.
subtest 'a socket that leads through who is gone' => sub {
	vmconf_does('start', 'web');
	my $vm = state_of('web');
	kill('KILL', $vm->{supervisor});
	wait_until('unmanaged', sub { state_of('web')->{state} eq 'unmanaged' });
	rename("$run/web/qmp", "$work/qmp") or die;
	symlink("$work/qmp", "$run/web/qmp") or die;
	vmconf_fails(1, qr/web/, 'qmp', 'web', 'query-status');
	unlink("$run/web/qmp");
	rename("$work/qmp", "$run/web/qmp") or die;
	vmconf_does('qmp', 'web', 'query-status');
	vmconf_does('stop', 'web');
};

kill('KILL', $victim);
waitpid($victim, 0);
done_testing;
