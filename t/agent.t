#!/usr/bin/perl
# A guest with an agent: it is shut down through it, whatever it does with its power button, and its disk is
# clean; an agent that cannot or will not costs no time.
use strict;
use warnings;
use FindBin;
use IO::Socket::UNIX;
use lib $FindBin::Bin;
use Socket qw(SOCK_DGRAM);
use T;

need('qemu-system-x86_64', 'mke2fs', 'dumpe2fs');

my $ladder = 'TERM=agent-shutdown 60s, powerdown 60s, quit, kill';
my $off = qr/the guest powered itself off \(status 0\)/;

my $path = "$work/notify";
my $socket = IO::Socket::UNIX->new(Local => $path, Type => SOCK_DGRAM) or die "notify: $!";
$socket->blocking(0);

my @vms = (
	late => ['normal', 'late', delay => 1, env => { NOTIFY_SOCKET => $path }, options => ['-v', '--ready', 'agent']],
	obeys => ['ignore', 'obeys'],
	deaf => ['deaf', 'obeys', options => ['--boot-timeout', '1s', '-o', 'TERM=powerdown 60s, agent-shutdown 60s, quit, kill']],
	refuses => ['normal', 'refuses'],
	none => ['normal', 'late', delay => 100000],
	stopped => ['normal', 'stopped'],
	paused => ['ignore', 'obeys'],
	asleep => ['s3', 'obeys', machine => 'pc'],
);
my %started;

# Starts the next one of them, and the one after it, which boots meanwhile.
sub vm {
	my ($name) = @_;
	my ($n) = grep { $vms[$_] eq $name } 0 .. $#vms;
	for my $i (grep { $_ < @vms } $n, $n + 2) {
		my ($mode, $agent, %o) = @{ $vms[$i + 1] };
		$started{ $vms[$i] } ||= supervise(guest => $mode, agent => $agent, %o, options => ['-o', $ladder, @{ $o{options} || [] }]);
	}
	return $started{$name};
}

# Waits until a press is heard (unless the guest is deaf), and the agent's port is open.
sub booted {
	my ($name) = @_;
	my $s = vm($name);
	$s->wait_console(qr/guest: listening/) if $name ne 'deaf';
	wait_until('the open port', sub { $s->state->{agent} });
	return $s;
}

sub is_down {
	my ($s, $words, $what) = @_;
	$s->ends_with(0, $words, $what);
	ok(disk_is_clean($s->{disk}), "$what: file system clean");
}

subtest 'ready: agent' => sub {
	my $s = vm('late');
	my $told = '';
	wait_until('readiness', sub {
		my $datagram;
		$told .= "$datagram\n" while defined $socket->recv($datagram, 4096);
		return $told =~ /READY=1/;
	});
	like($s->console, qr/guest: agent\s/, 'not before the agent runs');
	ok($s->wait_log(qr/QEMU runs.*the guest agent answers\n[^\n]*readiness reported/s), 'the log says why');
	ok($s->state->{agent}, 'state.json has it');
	$s->signal('HUP');
	ok(wait_until('the closed port', sub { defined $s->state->{agent} && !$s->state->{agent} }), 'and that it is gone after a reset');
	booted('late');
	$s->signal('TERM');
	is_down($s, qr/$off; TERM: agent-shutdown \S+$/, 'ready');
};

subtest 'the agent obeys' => sub {
	my $s = booted('obeys');
	$s->signal('TERM');
	is_down($s, qr/$off; TERM: agent-shutdown \S+$/, 'obeys');
	like($s->log, qr/agent-shutdown: the guest agent was asked to shut the guest down\n.*SHUTDOWN: guest-shutdown/s, 'asked');
	like($s->console, qr/guest: agent asked/, 'by its own shutdown');
	unlike($s->console, qr/guest: press/, 'no press');
};

subtest 'the guest is deaf to its power button' => sub {
	my $s = booted('deaf');
	$s->signal('TERM');
	is_down($s, qr/$off; TERM: powerdown \S+, agent-shutdown \S+$/, 'deaf');
};

subtest 'the agent refuses, and is busy with others' => sub {
	my $s = booted('refuses');
	my $other = IO::Socket::UNIX->new(Peer => $s->dir . '/agent');
	syswrite($other, qq({"execute": "guest-ping"}\n));
	sysread($other, my $answer, 4096);
	like($answer, qr/^\{"return": \{\}\}\s*$/, 'others are answered');
	$s->signal('TERM');
	$s->wait_log(qr/TERM from/);
	close($other);
	is_down($s, qr/$off; TERM: agent-shutdown [0-5]\.\ds, powerdown \S+$/, 'refuses');
	like($s->log, qr/agent-shutdown: [^\n]*guest-shutdown has been disabled/, 'its own words');
};

subtest 'no agent runs' => sub {
	my $s = vm('none');
	$s->wait_console(qr/guest: listening/);
	$s->signal('TERM');
	is_down($s, qr/$off; TERM: agent-shutdown 0\.\ds, powerdown \S+$/, 'none');
	like($s->log, qr/agent-shutdown: no guest agent is connected\n/, 'said');
};

subtest 'the port is open, and nobody reads it' => sub {
	my $s = booted('stopped');
	$s->signal('TERM');
	is_down($s, qr/$off; TERM: agent-shutdown [3-9]\.\ds, powerdown \S+$/, 'stopped');
	like($s->log, qr/agent-shutdown: the guest agent does not answer: no answer in time\n/, 'said');
};

subtest 'a paused guest' => sub {
	my $s = booted('paused');
	$s->qmp->command('stop');
	wait_until('paused', sub { $s->state->{'run-state'} eq 'paused' });
	$s->signal('TERM');
	is_down($s, qr/$off; TERM: agent-shutdown \S+$/, 'paused');
	like($s->log, qr/agent-shutdown: run state paused: cont\n.*asked to shut/s, 'cont first');
};

subtest 'a guest that sleeps' => sub {
	my $s = vm('asleep');
	wait_until('suspended', sub { ($s->state->{'run-state'} // '') eq 'suspended' });
	$s->signal('TERM');
	is_down($s, qr/$off; TERM: agent-shutdown \S+$/, 'suspended');
	like($s->log, qr/agent-shutdown: run state suspended: system_wakeup\n.*asked to shut/s, 'woken first');
};

done_testing;
