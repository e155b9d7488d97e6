#!/usr/bin/perl
# --print: the default policy is the one of the manual, and options change it as promised.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;

my $program = $ENV{T_SUPERVISE} || "$top/qemu-supervise";

sub policy {
	my (@options) = @_;
	my ($status, $out, $err) = run_command($program, '-p', @options, '--', fake_qemu());
	is("$status$err", '0', "-p @options");
	my ($table) = $out =~ /\A(.*?)\n\n/s;
	return $table;
}

sub row {
	my ($trigger, @options) = @_;
	my ($ladder) = policy(@options) =~ /^$trigger +(.*)$/m;
	return $ladder;
}

is(policy(), <<'TABLE' =~ s/\n\z//r, 'the default table');
TERM  powerdown 180s, agent-shutdown 30s, quit 10s, kill
INT   powerdown 180s, agent-shutdown 30s, quit 10s, kill
PWR   powerdown 45s, quit 5s, kill
HUP   reset
QUIT  quit 10s, kill
USR1  status
USR2  reexec
TABLE

subtest 'rows' => sub {
	is(row('TERM', '-o', 'TERM=quit 5s, kill'), 'quit 5s, kill', '-o replaces a row');
	is(row('TERM', '-o', 'TERM=kill', '-o', 'TERM=quit 5s, kill'), 'quit 5s, kill', 'the last one counts');
	is(row('TERM', '-o', 'SIGTERM=kill'), 'kill', 'SIG may stand before it');
	is(row('INT', '-o', 'TERM=kill'), 'powerdown 180s, agent-shutdown 30s, quit 10s, kill', 'other rows stay');
	is(row('GUEST_PANICKED', '-o', 'GUEST_PANICKED=stop, status'), 'stop, status', 'a row for an event');
	is(row('UNRESPONSIVE', '-o', 'UNRESPONSIVE=kill'), 'kill', 'and for UNRESPONSIVE');
	is(row('RTMIN\+3', '-o', 'RTMIN+3=nmi'), 'nmi', 'and for a real-time signal');
	is(row('IO', '-o', 'POLL=ignore'), 'ignore', 'a second name of a signal is the same signal');
};

subtest '--timeout' => sub {
	my $short = 'powerdown 20s, agent-shutdown 30s, quit 10s, kill';
	is(row('TERM', '-t', '20'), $short, 'it is the powerdown rung of TERM');
	is(row('INT', '-t', '20'), $short, 'and INT');
	is(row('PWR', '-t', '20'), 'powerdown 45s, quit 5s, kill', 'not of PWR');
	for my $options (['-t', '20', '-o', 'TERM=powerdown 7s, kill'], ['-o', 'TERM=powerdown 7s, kill', '-t', '20']) {
		is(row('TERM', @$options), 'powerdown 7s, kill', "-o counts more: @$options");
		is(row('INT', @$options), $short, 'INT was not chosen');
	}
};

subtest '--json' => sub {
	my @words = ('qemu-system-x86_64', '-append', 'it "is"', '');
	my ($status, $out, $err) = run_command($program, '--print', '--json', '-n', 'web', '-o', 'HUP=reset, kill', '-r', 'listening', '--', @words);
	is("$status$err", '0', 'is printed');
	my $got = JSON::PP::decode_json($out);
	is_deeply($got->{command}, [@words, '-readconfig', '/dev/fd/N'], 'the command, word by word');
	my %rows = map { /^(\S+) +(.*)$/ } split /\n/, policy('-o', 'HUP=reset, kill');
	is_deeply($got->{on}, \%rows, 'the policy, as the text has it');
	delete @$got{qw(command on)};
	is_deeply($got, { version => 1, name => 'web', ready => 'listening', 'press-interval' => '10s', 'boot-timeout' => '120s' }, 'and the rest');
	($status, $out) = run_command($program, '-p', '--json', '--', 'qemu', "\xff");
	is("$status$out", '64', 'no word is changed to fit');
	is((run_command($program, '--json', '--', 'qemu'))[0], 64, '--json alone starts nothing');
	T::define('db', { on => { TERM => 'quit 5s, kill' }, 'boot-timeout' => 'forever' });
	$got = JSON::PP::decode_json((run_command($program, '-p', '--json', 'db'))[1]);
	is("$got->{on}{TERM}; $got->{'boot-timeout'}", 'quit 5s, kill; forever', 'of a definition');
	T::define('again', { map { $_ => $got->{$_} } qw(on ready boot-timeout press-interval) });
	is_deeply(JSON::PP::decode_json((run_command($program, '-p', '--json', 'again'))[1])->{on}, $got->{on}, 'whose keys it has');
};

subtest 'every form of a TIME' => sub {
	my %forms = (
		'90' => '90s', '90s' => '90s', '2m' => '120s', '1m30s' => '90s', '1500ms' => '1500ms', '0' => '0',
		'0s' => '0', 'forever' => 'forever', '1h' => '3600s', '1h1m1s1ms' => '3661001ms', '2000ms' => '2s',
		'1s500ms' => '1500ms'
	);
	is(row('TERM', '-o', "TERM=powerdown $_, kill"), "powerdown $forms{$_}, kill", "TIME $_") for sort keys %forms;
	for my $wrong ('30s1m', '1m1m', '1.5s', '-1', '+1', '1 s', '1S', 's', '1m30', '99999999999', '9' x 40) {
		my ($status) = run_command($program, '-p', '-t', $wrong, '--', fake_qemu());
		is($status, 64, "\"$wrong\" is none");
	}
};

subtest 'rungs' => sub {
	my %forms = (
		' status ' => 'status', "stop\t1s ,cont" => 'stop 1s, cont', 'reboot' => 'reboot 180s',
		'agent-shutdown,kill' => 'agent-shutdown 30s, kill', 'powerdown, kill' => 'powerdown 180s, kill',
		'quit,kill 5s' => 'quit 10s, kill 5s', 'quit forever' => 'quit forever',
		'run:/a b/c 5s' => 'run:/a b/c 5s', 'run:/hook' => 'run:/hook 60s', 'qmp:query-block' => 'qmp:query-block',
		'qmp:{"execute": "a", "arguments": {"x": [1, 2]}} 5s, status' =>
			'qmp:{"execute": "a", "arguments": {"x": [1, 2]}} 5s, status',
		'reset,stop,cont,wakeup,nmi,ignore' => 'reset, stop, cont, wakeup, nmi, ignore'
	);
	is(row('HUP', '-o', "HUP=$_"), $forms{$_}, "\"$_\"") for sort keys %forms;
	is(row('HUP', '-o', "HUP=$forms{$_}"), $forms{$_}, 'what is printed can be read') for sort keys %forms;
};

subtest 'the command line' => sub {
	my @words = ('qemu-system-x86_64', '-m', '1G', '-append', "it's \"quoted\" \$HOME", '', 'ä');
	my (undef, $out) = run_command($program, '-p', '--', @words);
	my ($line) = $out =~ /\n\n(.*)\n\z/;
	my @back = split(/\0/, (run_command('sh', '-c', "printf '%s\\0' $line"))[1], -1);
	is_deeply(\@back, [@words, '-readconfig', '/dev/fd/N', ''], 'a shell reads it back');
	ok(!-e "$work/run", 'nothing was made');
};

done_testing;
