#!/usr/bin/perl
# A time-out is not a refusal: what QEMU was asked for, and has not done yet, is kept until it is done, however late, over
# a lost connection, a takeover and a reexec. A reboot never ends a VM.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;

my $off = qr/ended: the guest powered itself off \(status 0\)/;
my @reboot = ('-o', 'USR2=reboot 60s, reset', '-o', 'VTALRM=reexec');

sub is_stopped { return slurp("/proc/$_[0]/stat") =~ /\) T / }

# A supervisor whose QEMU is stopped when it has read a command that a signal brings about.
sub stopped_at {
	my ($name, $command, $signal, %o) = @_;
	my $s = running(name => $name, %o, fake => ["stops=$command", @{ $o{fake} || [] }], options => [@reboot, @{ $o{options} || [] }]);
	$s->signal($signal);
	my $qemu = $s->qemu;
	wait_until("$name: QEMU is stopped", sub { is_stopped($qemu) });
	return $s;
}

sub goes_on { kill('CONT', $_[0]->qemu) }

# The guest was started again, and is stopped like any other.
sub was_rebooted {
	my ($s, $what) = @_;
	wait_until("$what\n" . $s->log, sub {
		my $state = $s->state;
		return ($state->{'run-state'} // '') eq 'running' && !@{ $state->{others} } && !$state->{'going-round'}
			&& $state->{'set-action'}{shutdown} eq 'poweroff';
	});
	$s->fake(set => { ignore => '' });
	is($s->{public}->status, 'running', "$what: the guest runs");
	$s->signal('TERM');
	$s->ends_with(0, $off, $what);
}

# These take the 10 seconds of an answer.
my $late_reset = stopped_at('late-reset', 'system_reset', 'USR2');
my $late_set = stopped_at('late-set', 'set-action', 'USR2');
my $late_press = running(name => 'late-press', fake => [], options => [@reboot, '--press-interval', 0]);
$late_press->signal('USR2');
wait_until('a first reboot', sub { $late_press->sent(qr/^cont$/) && !$late_press->state->{'going-round'} });
$late_press->fake(set => { mute => 'set-action' });
$late_press->signal('USR2');
my $late_stop = stopped_at('late-stop', 'stop', 'ALRM', options => ['-o', 'ALRM=stop']);

subtest 'a reboot: the reset is not answered' => sub {
	my $s = stopped_at('taken-over', 'system_reset', 'USR2');
	wait_until('state.json', sub { $s->state->{'going-round'} });
	my $qemu = $s->qemu;
	$s->lost;
	kill('CONT', $qemu);
	my $next = $s->successor;
	was_rebooted($next, 'by the next supervisor');

	$s = stopped_at('reexec', 'system_reset', 'USR2');
	$s->signal('VTALRM');
	$s->wait_log(qr/reexec: done/);
	goes_on($s);
	was_rebooted($s, 'after a reexec');

	$s = running(name => 'closed', fake => ['close=system_reset'], options => \@reboot);
	$s->signal('USR2');
	$s->wait_log(qr/QMP is there again/);
	was_rebooted($s, 'the connection was lost');
};

subtest 'a reboot: cont is lost' => sub {
	my $s = running(name => 'cont', fake => ['close=cont'], options => \@reboot);
	$s->signal('USR2');
	$s->wait_log(qr/QMP is there again/);
	was_rebooted($s, 'with the connection');

	$s = running(name => 'mute', fake => ['mute=cont'], options => \@reboot);
	$s->signal('USR2');
	$s->wait_sent('cont');
	wait_until('state.json', sub { !$s->state->{rebooting} });
	my $public = $s->qmp;
	$s->lost;
	$public->command('fake', { set => { mute => '' } });
	$s = $s->successor;
	$s->{public} = $public;
	was_rebooted($s, 'with the supervisor');
};

subtest 'a reset in a reboot' => sub {
	for my $no_reboot ([], ['-no-reboot']) {
		my $what = "HUP @$no_reboot";
		my $s = running(name => 'hup', fake => ['ignore=system_powerdown,system_reset', @$no_reboot], options => \@reboot);
		$s->signal('USR2');
		$s->wait_log(qr/reboot: power button pressed/);
		$s->signal('HUP');
		$s->wait_sent('system_reset');
		$s->fake(set => { ignore => '' }, shutdown => 'guest-shutdown');	# it goes down all the same
		$s->wait_log(qr/the guest is down, starting it again/);
		was_rebooted($s, $what);
	}
};

sub settings { return grep { $_->{execute} eq 'set-action' } $_[0]->sent }

# Under -no-reboot the firmware's own reset, just after ours, would end QEMU: what is set stays until that is over.
subtest 'a supervisor that dies after a reset' => sub {
	my $s = running(name => 'after', fake => ['-no-reboot']);
	$s->signal('HUP');
	$s->wait_sent('system_reset');
	wait_until('state.json', sub { $s->state->{'set-action'}{reboot} eq 'reset' && !@{ $s->state->{others} } });
	my $before = settings($s->lost);
	my $left = $s->state->{'set-action'}{reboot};
	my $next = $s->successor;
	wait_until('the next one tells QEMU again', sub { settings($next) > $before });
	is((settings($next))[$before]{arguments}{reboot}, $left, 'the same');
	wait_until('what the user has set', sub { (settings($next))[-1]{arguments}{reboot} eq 'shutdown' });
	$next->signal('TERM');
	$next->ends_with(0, $off, 'after');
};

subtest 'a reset' => sub {
	my $s = running(name => 'reset', fake => ['-no-reboot', 'mute=system_reset']);
	$s->signal('HUP');
	$s->wait_sent('system_reset');
	wait_until('state.json', sub { @{ $s->state->{others} } });
	is($s->state->{'set-action'}{reboot}, 'reset', 'it would end QEMU else');
	my $public = $s->qmp;
	$s->lost;
	$public->command('fake', { set => { mute => '' } });
	my $next = $s->successor;
	$public->wait_event('RESET');
	ok(1, 'the next supervisor resets');
	wait_until('set-action', sub { $next->state->{'set-action'}{reboot} eq 'shutdown' });
	wait_until('what the user has set is put back', sub {	# state.json is written before QEMU has read it
		my ($last) = reverse grep { $_->{execute} eq 'set-action' } $next->sent;
		return $last->{arguments}{reboot} eq 'shutdown';
	});
	ok(1, 'and puts back what the user has set');
	is(scalar($next->sent(qr/system_reset/)), 2, 'once');
	$next->signal('TERM');
	$next->ends_with(0, $off, 'reset');
};

subtest 'one press, always' => sub {
	my @o = (options => ['--press-interval', 0, '-o', 'TERM=powerdown 60s, quit, kill']);
	my $s = running(name => 'once', fake => ['close=system_powerdown'], @o);
	$s->signal('TERM');
	$s->ends_with(0, $off, 'lost with its connection: it is made again');
	$s = running(name => 'once', fake => ['mute=system_powerdown'], @o);
	$s->signal('TERM');
	$s->wait_sent('system_powerdown');
	wait_until('state.json', sub { $s->state->{ladder} });
	my $public = $s->qmp;
	$s->lost;
	$public->command('fake', { set => { mute => '' } });
	my $next = $s->successor;
	$next->ends_with(0, $off, 'unanswered: the next supervisor makes it');
};

subtest 'what may be done twice, and what not' => sub {
	my @o = (options => ['-o', 'ALRM=stop', '-o', 'PROF=nmi']);
	my $s = running(name => 'stop', fake => ['close=stop'], @o);
	$s->signal('ALRM');
	wait_until('paused', sub { ($s->state->{'run-state'} // '') eq 'paused' });
	ok(1, 'stop is done when QMP is there again');
	$s->qmp->command('cont');
	$s->fake(set => { close => 'inject-nmi' });
	$s->signal('PROF');
	$s->wait_log(qr/nmi: the connection was lost; whether QEMU has done it is not known\n.*QMP is there again/s);
	is(scalar($s->sent(qr/inject-nmi/)), 1, 'nmi is not');
	$s->fake(set => { mute => 'inject-nmi' });
	$s->signal('PROF');
	wait_until('state.json', sub { @{ $s->state->{others} } });
	my $next = $s->taken_over;
	$next->wait_log(qr/PROF: resuming at nmi, [^\n]*; whether QEMU has done that is not known\n/);
	$next->wait_log(qr/QEMU runs/);
	is(scalar($next->sent(qr/inject-nmi/)), 2, 'nor by the next supervisor');
	$next->signal('TERM');
	$next->ends_with(0, $off, 'stop');
};

subtest 'after its 10 seconds' => sub {
	$late_reset->wait_log(qr/reboot: system_reset: no answer in time/);
	goes_on($late_reset);
	was_rebooted($late_reset, 'the reset is done');
	$late_set->wait_log(qr/reboot: QEMU does not answer/);
	goes_on($late_set);
	$late_set->wait_log(qr/reboot: power button pressed/);
	was_rebooted($late_set, 'set-action is answered, and the reboot goes on');
	is(join(' ', $late_set->sent(qr/system_powerdown|system_reset/)), 'system_powerdown system_reset system_powerdown',
		'the guest was asked, not cut off');
	$late_press->wait_log(qr/reboot: QEMU does not answer/);
	wait_until('state.json', sub { @{ $late_press->state->{others} } && !$late_press->state->{others}[0]{held} });
	is($late_press->state->{presses}, 0, 'the presses of the reboot before do not count');
	$late_press = $late_press->lost;
	$late_press->fake(set => { mute => '' });
	$late_press = $late_press->successor;
	$late_press->wait_log(qr/reboot: the guest is down, starting it again/);
	was_rebooted($late_press, 'the next supervisor presses');
	my $next = $late_stop->taken_over;
	goes_on($next);
	wait_until('paused', sub { ($next->state->{'run-state'} // '') eq 'paused' });
	wait_until('a second stop', sub { $next->sent(qr/^stop$/) == 2 });	# the first one was enough to pause it
	ok(1, 'stop is kept for the next supervisor');
	$next->signal('TERM');
	$next->ends_with(0, $off, 'late-stop');
};

done_testing;
