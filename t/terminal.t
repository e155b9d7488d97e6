#!/usr/bin/perl
# On a terminal: one that closes, with and without a shell; Ctrl-C, Ctrl-Z, QEMU's own use of it.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use POSIX ();
use T;

need('qemu-system-x86_64', 'mke2fs', 'dumpe2fs', 'bash', 'nohup');
need_that("perl has IO::Pty", sub { eval { require IO::Pty } });

my $listens = qr/guest: listening/;
my $off = qr/the guest powered itself off \(status 0\)/;

# Gives a vm, or a shell, a controlling terminal of its own: returns what supervise() wants as setup.
sub terminal {
	my ($pty) = @_;
	return sub {
		$pty->make_slave_controlling_terminal;
		my $slave = $pty->slave;
		open(STDIN, '<&', $slave) or die "stdin: $!";
		open(STDOUT, '>&', $slave) or die "stdout: $!";
	};
}

sub new_pty {
	my $pty = IO::Pty->new;
	$pty->blocking(0);
	fcntl($_, Fcntl::F_SETFD(), Fcntl::FD_CLOEXEC()) for $pty, $pty->slave;
	return $pty;
}

# The supervisor is the terminal's session leader itself.
sub on_terminal {
	my (%o) = @_;
	my $pty = new_pty();
	my $before = modes($pty);
	my $vm = supervise(%o, setup => terminal($pty));
	@$vm{qw(pty screen modes)} = ($pty, '', $before);
	return $vm;
}

# An interactive bash, into which the command line is typed. The vm is its child until it dies, then ours.
sub in_bash {
	my ($behind, %o) = @_;
	my $vm = supervisor(%o);
	my $pty = new_pty();
	my $words = join ' ', map { s/'/'\\''/gr =~ s/(.*)/'$1'/sr } @{ $vm->{command} };
	my $script = spew("$vm->{log}.sh", "exec $words 2>$vm->{log}\n");
	my $bash = fork // die "fork: $!";
	if ($bash == 0) {
		terminal($pty)->();
		open(STDERR, '>&', \*STDOUT);
		$ENV{PS1} = 'ready> ';
		exec('bash', '--norc', '--noprofile', '-i') or POSIX::_exit(127);
	}
	@$vm{qw(pty screen bash)} = ($pty, '', $bash);
	see($vm, qr/ready> /);
	type($vm, "sh $script$behind\n");
	$vm->{pid} = wait_until('state.json', sub { $vm->state->{supervisor} });
	return $vm;
}

sub type { syswrite($_[0]{pty}, $_[1]) }

sub see {
	my ($vm, $what) = @_;
	return wait_until("the screen $what", sub {
		sysread($vm->{pty}, $vm->{screen}, 65536, length $vm->{screen});
		$vm->{screen} =~ $what;
	});
}

sub modes {
	my ($pty) = @_;
	my $termios = POSIX::Termios->new;
	$termios->getattr(fileno($pty->slave)) or die "tcgetattr: $!";
	return join ' ', $termios->getiflag, $termios->getoflag, $termios->getlflag;
}

sub hang_up {
	my ($vm) = @_;
	close($vm->{pty}->slave);
	close(delete $vm->{pty});
}

sub goes_down {
	my ($vm, $what) = @_;
	$vm->ends_with(0, $off, $what);
	ok(disk_is_clean($vm->{disk}), "$what: file system clean");
	unlike($vm->console, qr/$listens.*$listens/s, "$what: no reset");
}

# Those use QEMU's own console on the terminal.
sub graphicless {
	my (@instead) = @_;
	my $disk = make_disk();
	my @qemu = guest_command('normal', disk => $disk, console => '/dev/null', append => 'console=ttyS0');
	my ($i) = grep { $qemu[$_] eq '-serial' } 0 .. $#qemu;
	splice(@qemu, $i, 2);
	return (disk => $disk, command => [(grep { $_ ne '-nodefaults' } @qemu), '-nic', 'none', @instead]);
}

my %vm = (
	alone => on_terminal(guest => 'normal'),
	foreground => in_bash('', guest => 'normal'),
	background => in_bash(' &', guest => 'normal'),
	nohup => on_terminal(guest => 'normal', prefix => ['env', '-C', $work, 'nohup']),
	script => on_terminal(guest => 'normal', prefix => ['sh', '-c', '"$@" & wait $!', 'sh']),
	nographic => on_terminal(graphicless('-nographic')),
	killed => on_terminal(graphicless('-serial', 'mon:stdio')),
	ctrl_c => on_terminal(guest => 'ignore'),
	ctrl_z => in_bash('', guest => 'normal'),
);

for my $name (qw(alone foreground background)) {
	my $vm = $vm{$name};
	$vm->wait_console($listens);
	hang_up($vm);
	goes_down($vm, "closing terminal, $name");
	like($vm->log, qr/HUP from .*: we have a terminal, so it counts as TERM\n/, "closing terminal, $name: HUP means TERM");
}

{
	my $vm = $vm{nohup};
	$vm->wait_console($listens);
	hang_up($vm);
	$vm->signal('HUP', 'TERM');
	goes_down($vm, 'nohup');
	unlike($vm->log, qr/HUP/, 'nohup: HUP is nothing');
}

{
	my $vm = $vm{script};
	my $pid = wait_until('state.json', sub { $vm->state->{supervisor} });
	$vm->wait_console($listens);
	kill($_, $pid) for qw(INT QUIT TERM);
	goes_down($vm, "a script's &");
	unlike($vm->log, qr/INT|QUIT/, "a script's &: INT and QUIT are nothing");
}

{
	my $vm = $vm{nographic};
	see($vm, $listens);
	isnt(modes($vm->{pty}), $vm->{modes}, '-nographic: QEMU has changed the terminal modes');
	type($vm, "\cC");
	ok(see($vm, qr/\^C/), '-nographic: Ctrl-C is for the guest');
	type($vm, "\cAc");
	ok(see($vm, qr/\(qemu\) /), '-nographic: Ctrl-A c brings the monitor');
	type($vm, "info status\n");
	ok(see($vm, qr/VM status: running/), '-nographic: the monitor works');
	$vm->signal('TERM');
	goes_down($vm, '-nographic');
	unlike($vm->log, qr/INT/, '-nographic: no signal came of Ctrl-C');
	is(modes($vm->{pty}), $vm->{modes}, '-nographic: the terminal is as it was');
}

{
	my $vm = $vm{killed};
	see($vm, $listens);
	isnt(modes($vm->{pty}), $vm->{modes}, 'QEMU is killed: it had changed the terminal modes');
	kill('KILL', $vm->qemu);
	$vm->ends_with(83, qr/QEMU died of SIGKILL/, 'QEMU is killed');
	is(modes($vm->{pty}), $vm->{modes}, 'QEMU is killed: the terminal is as it was');
}

{
	my $vm = $vm{ctrl_c};
	$vm->wait_console($listens);
	type($vm, "\cC");
	ok($vm->wait_console(qr/guest: press/), 'Ctrl-C asks the guest to shut down');
	type($vm, "\cC");
	$vm->ends_with(80, qr/quit \(status 80\); INT: powerdown \S+, agent-shutdown 0\.0s, quit/, 'Ctrl-C twice');
	like($vm->log, qr/INT from the kernel: climbs to the next rung/, 'Ctrl-C twice: the second one climbs');
}

{
	my $vm = $vm{ctrl_z};
	my @both = ($vm->{pid}, $vm->qemu);
	$vm->wait_console($listens);
	type($vm, "\cZ");
	ok(see($vm, qr/Stopped/), 'Ctrl-Z: the shell says so');
	ok(wait_until('both', sub { 2 == grep { slurp("/proc/$_/stat") =~ /\) T / } @both }), 'Ctrl-Z: both stand still');
	type($vm, "fg\n");
	wait_until('both', sub { !grep { slurp("/proc/$_/stat") =~ /\) T / } @both });
	$vm->signal('TERM');
	ok($vm->wait_log($off), 'fg, TERM: the guest shuts down');
	ok(see($vm, qr/ready> $/), 'and the shell is there again');
	ok(disk_is_clean($vm->{disk}), 'fg, TERM: file system clean');
	hang_up($vm);
	waitpid($vm->{bash}, 0);
}

# A terminal that nobody reads, with only so much room that poll(2) still says that there is some.
sub nearly_full {
	my ($most) = @_;
	my $pty = new_pty();
	my $slave = $pty->slave;
	my ($room, $total) = (1, 0);
	$slave->blocking(0);
	vec(my $bits = '', fileno($slave), 1) = 1;
	while ($total < $most && $room) {	# the kernel takes it further, by and by
		$total += syswrite($slave, 'x' x ($most - $total > 100 ? 100 : $most - $total)) // 0;
		$room = select(undef, my $ready = $bits, undef, 0.3);
	}
	$slave->blocking(1);
	return $room ? $pty : nearly_full($total - 40);
}

# A stopped screen, a hung ssh: the end of a line has no room, and write(2) waits for it.
subtest 'a terminal that nobody reads' => sub {
	my $pty = nearly_full(1 << 24);
	my $vm = supervise(fake => ['ignore=system_powerdown'], setup => sub { open(STDERR, '>&', $pty->slave) or die "stderr: $!" });
	wait_until('running', sub { ($vm->state->{phase} // '') eq 'running' });
	$vm->signal('TERM');
	$vm->signal('QUIT');
	is($vm->end, 80, 'hangs nobody');
};

done_testing;
