#!/usr/bin/perl
# Supervisors of real guests are killed again and again, at any moment of their lives, and others come. T_SOAK=N: so many
# times; T_SEED=N: the same choices as in the run that said so (the moments are never quite the same).
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;
use Time::HiRes qw(sleep);

need('qemu-system-x86_64', 'mke2fs', 'dumpe2fs', 'e2fsck');

my $kills = $ENV{T_SOAK} || 50;
my $seed = $ENV{T_SEED} || time ^ $$;
diag("seed $seed, $kills kills");
srand($seed);

# How it ends where its SHUTDOWN was seen; where it was not, 83 says so.
my @kinds = (
	{ mode => 'normal', status => 0, clean => 1 },
	{ mode => 'slow-boot', delay => 1, status => 0, clean => 1 },
	{ mode => 'slow-stop', delay => 1, status => 0, clean => 1 },
	{ mode => 'two-presses', status => 0, clean => 1 },
	{ mode => 'ignore', status => 80, on => 'powerdown 700ms, quit 20s, kill' },
	{ mode => 'deaf', status => 81, on => 'agent-shutdown, kill' },
);
my $unseen = 83;

# QEMU, if it was not started before: a second one says so, and ends.
sub once {
	my ($starts, @command) = @_;
	return ('sh', '-c', 'echo $$ >>"$0"; [ "$(wc -l <"$0")" = 1 ] || exit 9; exec "$@"', $starts, @command);
}

sub new_vm {
	my ($n) = @_;
	my $vm = { %{ $kinds[rand @kinds] }, n => $n, name => "soak$n", takeovers => 0, resumed => 0, starts => "$work/starts.$n", console => "$work/serial.$n" };
	$vm->{disk} = make_disk("$work/soak$n.raw");
	my @guest = guest_command($vm->{mode}, disk => $vm->{disk}, console => $vm->{console}, delay => $vm->{delay} || 0);
	$vm->{s} = supervise(name => $vm->{name}, command => [once($vm->{starts}, @guest)],
		options => ['--press-interval', '500ms', ($vm->{on} ? ('-o', "TERM=$vm->{on}") : ())]);
	wait_until('its QEMU', sub { -s $vm->{starts} });
	($vm->{qemu}) = split ' ', slurp($vm->{starts});
	return $vm;
}

sub qemu_lives {
	my ($vm) = @_;
	return slurp("/proc/$vm->{qemu}/stat") =~ /\) [^Z]/;
}

# Before it is the program that it will be, and has blocked its signals, a TERM ends it as it would end any other.
sub blocks_term {
	my ($s) = @_;
	my $status = slurp("/proc/$s->{pid}/status");
	my ($low) = $status =~ /^SigBlk:\s+[0-9a-f]{8}([0-9a-f]{8})$/m;
	return $status =~ /^Name:\s+qemu-supervise$/m && hex($low) & 1 << 14;
}

sub stop_vm {
	my ($vm) = @_;
	my $s = $vm->{s};
	wait_until('a supervisor that hears', sub { blocks_term($s) || $s->ended });
	$vm->{termed} = 1;
	$s->signal('TERM');
}

# Another supervisor, as soon or as late as it comes to pass. A stop that was written down goes on by itself; one that
# was not is asked for again, as an init system does.
sub replace {
	my ($vm) = @_;
	sleep(rand 0.05) if rand() < 0.5;
	my $written = $vm->{s}->state->{ladder};
	my $next = $vm->{s} = $vm->{s}->successor;
	$vm->{takeovers}++;
	return unless $vm->{termed};
	wait_until('a beginning', sub { $next->log || $next->ended });
	if ($written && $next->log =~ /taking over/) {
		$vm->{resumed}++ if $next->wait_log(qr/TERM: resuming at \S+/);
	} else {
		stop_vm($vm);
	}
}

sub check_end {
	my ($vm) = @_;
	my $s = $vm->{s};
	my $what = "$vm->{name} ($vm->{mode}, $vm->{takeovers} supervisors more)";
	my $log = join('', map { "--- $_\n" . slurp($_) } grep { slurp($_) =~ /: $vm->{name}: / } glob "$work/log.*");
	my @starts = split ' ', slurp($vm->{starts});
	my %may = map { $_ => 1 } @starts > 1 ? (69, $vm->{status}, $unseen) : $vm->{takeovers} ? ($vm->{status}, $unseen) : $vm->{status};
	ok($may{ $s->{status} }, "$what: status $s->{status}") or diag($log);
	like($log, qr/nobody saw the last end of this VM: QEMU ended while it had no supervisor| ended: /, "$what: not started twice") if @starts > 1;
	cmp_ok(scalar(() = slurp($vm->{console}) =~ /guest: up/g), '<=', 1, "$what: the guest never restarted") or diag($log);
	ok(!qemu_lives($vm), "$what: no QEMU is left");
	ok(!-e $s->dir, "$what: no file is left") or diag(`ls -l @{[$s->dir]}`, $log);
	return unless $vm->{clean};
	ok(disk_is_clean($vm->{disk}), "$what: file system clean") or diag($log);
	is((run_command('e2fsck', '-fn', $vm->{disk}))[0], 0, "$what: and whole");
}

# One more kill of one of them. Returns whether there was somebody to kill.
sub kill_one {
	my ($vm) = @_;
	my $s = $vm->{s};
	stop_vm($vm) if !$vm->{termed} && rand() < 0.2;
	sleep(rand 0.15);
	return 0 if $s->ended;
	$s->signal('KILL');
	return 0 if $s->end != 128 + 9;
	replace($vm);
	return 1;
}

my (@vms, @ended, $n);
my $killed = 0;
while ($killed < $kills) {
	push @vms, new_vm(++$n) while @vms < 3;
	$killed += kill_one($vms[rand @vms]);
	push @ended, grep { $_->{s}->ended } @vms;
	@vms = grep { !defined $_->{s}{status} } @vms;
}
stop_vm($_) for @vms;
$_->{s}->end for @vms;
check_end($_) for @ended, @vms;
is($killed, $kills, 'so many were killed');
is_deeply([glob "$work/run/*"], [], 'nothing is left');
my ($takeovers, $resumed) = (0, 0);
$takeovers += $_->{takeovers}, $resumed += $_->{resumed} for @ended, @vms;
diag("$n guests, $takeovers successors, $resumed ladders went on");

done_testing;
