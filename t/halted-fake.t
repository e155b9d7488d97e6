#!/usr/bin/perl
# A guest that halts instead of powering off: when its CPUs are looked at, what they must say, and what follows.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;

my $halted = qr/ended: the guest halted and did not power itself off \(status 86\); TERM: powerdown [2-9]\.\ds, quit \S+$/;
my @impatient = ('-o', 'TERM=powerdown 5s, quit 10s, kill');
my @deaf = ('ignore=system_powerdown');

# QEMU, and the options of the supervisor.
sub stopping {
	my ($fake, @options) = @_;
	my $s = running(fake => [@deaf, @$fake], options => \@options);
	$s->signal('TERM');
	return $s;
}

# How often the CPUs were looked at.
sub looks {
	my ($s) = @_;
	return scalar grep { ($_->{arguments}{'command-line'} // '') eq 'info registers -a' } $s->sent;
}

sub wait_looks {
	my ($s, $more) = @_;
	my $until = $more + looks($s);
	wait_until('looks', sub { looks($s) >= $until });
}

# Each of these waits for some seconds: they are started together.
my %s = (
	halted => stopping(['cpus=halted']),
	many => stopping(['cpus=halted,waits,halted,waits']),
	i386 => stopping(['cpus=halted', 'target=i386']),
	unreadable => stopping(['cpus=halted', 'no-acpi']),
	'no quit' => stopping(['cpus=halted'], '-o', 'TERM=powerdown 180s, kill'),
	forever => stopping(['cpus=halted'], '-o', 'TERM=agent-shutdown, powerdown forever'),
	'quit hangs' => stopping(['cpus=halted', 'mute=quit'], '-o', 'TERM=powerdown 180s, run:/bin/false 10s, quit 300ms, kill'),
);
my %alive = (
	idle => stopping(['cpus=idle,waits,halted'], @impatient),
	busy => stopping(['cpus=halted,halted,busy'], @impatient),
	masked => stopping(['cpus=halted,masked'], @impatient),
	'no HMP' => stopping(['cpus=halted', 'no-hmp'], @impatient),
	'no text' => stopping(['cpus=none'], @impatient),
	'half a text' => stopping(['cpus=halted,none'], @impatient),
);
# They stand still before they halt.
for my $state (qw(debug paused suspended)) {
	$alive{$state} = stopping([], '-o', 'TERM=powerdown 15s, quit 10s, kill', '--press-interval', 0);
	$alive{$state}->wait_log(qr/pressed/);
	$alive{$state}->fake(state => $state, set => { cpus => 'halted', refuse => 'cont,system_wakeup' });
}
my %unasked = (
	arm64 => stopping(['cpus=halted', 'target=aarch64'], @impatient),
	'not pressed' => stopping(['cpus=halted', 'en=0x0020'], '-o', 'TERM=powerdown 1s, quit 10s, kill', '--boot-timeout', '3s'),
	'told to quit' => stopping(['cpus=halted', 'mute=quit'], '-o', 'TERM=quit 3s, kill'),
);
my $idle = running(fake => ['cpus=halted']);
my $masked = stopping(['cpus=masked'], '-o', 'TERM=powerdown 8s, quit 10s, kill');
subtest 'halted' => sub {
	for (qw(halted many i386 unreadable)) {
		$s{$_}->ends_with(86, $halted, $_);
		like($s{$_}->log, qr/powerdown: the guest has halted, with interrupts off on all its CPUs: it does not power itself off\n/, "$_: said");
		is(looks($s{$_}), 2, "$_: two looks");
	}
};

subtest 'quit follows' => sub {
	$s{'no quit'}->ends_with(86, qr/\(status 86\); TERM: powerdown [2-9]\.\ds; deadline: quit/, 'where the ladder has none');
	$s{forever}->ends_with(86, qr/\(status 86\); TERM: agent-shutdown \S+, powerdown [2-9]\.\ds; deadline: quit/, 'for ever');
	$s{'quit hangs'}->ends_with(81, qr/QEMU was killed \(status 81\); TERM: powerdown [2-9]\.\ds, quit 0\.\ds, kill/, 'then kill: 81');
};

subtest 'not halted' => sub {
	for (sort keys %alive) {
		$alive{$_}->ends_with(80, qr/not shut down: quit \(status 80\); TERM: powerdown \d+\.\ds, quit/, $_);
		unlike($alive{$_}->log, qr/halted/, "$_: not said");
		cmp_ok(looks($alive{$_}), '>=', 2, "$_: its CPUs were looked at");
	}
};

subtest 'not looked at' => sub {
	$unasked{$_}->ends_with($_ eq 'told to quit' ? 81 : 80, qr/TERM: /, $_) for sort keys %unasked;
	is(looks($unasked{$_}), 0, $_) for sort keys %unasked;
	is(looks($idle), 0, 'a VM that is to go on');
	$idle->signal('QUIT');
	$idle->ends_with(80, qr/quit \(status 80\)/, 'idle');
};

subtest 'interrupts off, and running' => sub {
	$masked->ends_with(80, qr/quit \(status 80\)/, 'it is not over');
	is(scalar(() = $masked->log =~ /powerdown: the guest runs with interrupts off, as at each look of 5: it may hang\n/g), 1, 'said once');
};

subtest 'not for good' => sub {
	my $s = stopping(['cpus=halted'], @impatient);
	wait_looks($s, 1);
	$s->fake(set => { cpus => 'idle' });
	wait_looks($s, 1);
	$s->ends_with(80, qr/quit \(status 80\)/, 'seen once');
};

subtest 'asked through its agent' => sub {
	my $s = running(fake => ['cpus=halted', 'agent=lazy'], agent => 'obeys', options => ['-o', 'TERM=agent-shutdown 60s, quit 10s, kill']);
	$s->signal('TERM');
	$s->ends_with(86, qr/\(status 86\); TERM: agent-shutdown [2-9]\.\ds, quit/, 'agent');
};

subtest 'taken over' => sub {
	my $s = stopping(['cpus=idle'], '-o', 'TERM=powerdown 60s, quit 10s, kill', '--press-interval', '1h');
	$s->wait_log(qr/pressed/);
	wait_until('it is counted', sub { $s->state->{presses} });
	$s->lost;
	my $next = $s->successor;
	$next->wait_log(qr/resuming at powerdown/);
	$next->fake(set => { cpus => 'halted' });
	$next->ends_with(86, qr/\(status 86\); TERM: powerdown \S+, quit/, 'while it is pressed');

	$s = stopping(['cpus=halted', 'mute=quit'], '-o', 'TERM=powerdown 60s, quit 60s, kill');
	$s->wait_log(qr/has halted/);
	wait_until('it is kept', sub { $s->state->{outcome}{halted} && $s->state->{ladder}{action} eq 'quit' });
	$s->lost;
	$next = $s->successor;
	$next->wait_log(qr/resuming at quit/);
	$next->fake(shutdown => 'host-qmp-quit');
	$next->ends_with(86, qr/\(status 86\)/, 'once that is known');
};

subtest 'a reset' => sub {
	my $s = stopping(['cpus=halted', 'mute=quit'], '-o', 'TERM=powerdown 60s, quit 60s, kill');
	$s->wait_log(qr/has halted/);
	$s->fake(event => 'RESET', data => { reason => 'guest-reset', guest => JSON::PP::true });
	wait_until('it is past', sub { !$s->state->{outcome}{halted} });
	$s->fake(shutdown => 'host-qmp-quit');
	$s->ends_with(80, qr/quit \(status 80\)/, 'it was another guest that halted');
};

done_testing;
