#!/usr/bin/perl
# The log: where it goes, what it looks like, and that nobody has to read it.
use strict;
use warnings;
use Fcntl;
use FindBin;
use lib $FindBin::Bin;
use POSIX ();
use T;

sub stop {
	my ($s, $what) = @_;
	$s->signal('TERM');
	is($s->end, 0, $what);
}

subtest 'the journal' => sub {
	my $journal = sub { $ENV{JOURNAL_STREAM} = sprintf('%d:%d', (stat(STDERR))[0, 1]) };
	my $s = running(fake => ['refuse=migrate-set-capabilities'], setup => $journal, name => 'web');
	stop($s, 'journal');
	like($s->log, qr/^<6>qemu-supervise: web: QEMU runs/m, 'info');
	like($s->log, qr/^<5>qemu-supervise: web: TERM from/m, 'notice');
	like($s->log, qr/^<4>qemu-supervise: web: QMP migrate-set-capabilities: /m, 'warning');
	is(scalar(() = $s->log =~ /^(?!<[3-6]>qemu-supervise: web: )./mg), 0, 'each line has one');
	$s = supervise(fake => ['exit-before-qmp=1'], setup => $journal);
	$s->end;
	like($s->log, qr/^<3>qemu-supervise: \S+: QEMU failed/m, 'error');

	$s = running(fake => [], env => { JOURNAL_STREAM => '1:2' });
	stop($s, 'another stream');
	unlike($s->log, qr/^</m, 'no priorities where stderr is something else');
};

subtest '-v and -q' => sub {
	my $s = running(fake => [], options => ['-v']);
	stop($s, '-v');
	like($s->log, qr/: event POWERDOWN\n/, 'events are told');
	$s = supervise(fake => [], options => ['-q']);
	wait_until('running', sub { ($s->state->{phase} // '') eq 'running' });
	stop($s, '-q');
	is($s->log, '', 'a good end is no news');
	$s = supervise(fake => ['exit-before-qmp=1'], options => ['-q']);
	is($s->end, 69, 'a bad start');
	like($s->log, qr/QEMU failed/, 'is');
};

subtest 'words of others stay in their line' => sub {
	my $s = running(fake => [], options => ['-o', 'SHUTDOWN=qmp:query-status']);
	$s->fake(set => { reason => "evil\nqemu-supervise: all is well\e[2J" }, shutdown => 'guest-shutdown');
	is($s->end, 83, 'a reason that nobody knows');
	unlike($s->log, qr/^qemu-supervise: all is well|\e/m, 'no line, no escape sequence');
	like($s->log, qr/ended: QEMU ended: evil/, 'but its words');
};

subtest 'lines that come again' => sub {
	my $s = running(fake => [], options => ['-v', '-o', 'USR2=stop, cont']);
	for my $n (1 .. 3) {
		$s->signal('USR2');
		wait_until("$n times", sub { $n <= (() = $s->log =~ /event RESUME/g) && @{ $s->state->{others} } == 0 });
	}
	is(scalar(() = $s->log =~ /: USR2 from/g), 3, 'a few times they are written, with others between them');
	stop($s, 'again');
};

subtest 'a log that nobody reads' => sub {
	pipe(my $read, my $write) or die;
	my $s = supervise(
		fake => ['ignore=system_powerdown'],
		setup => sub {
			my $flags = fcntl($write, F_GETFL, 0);
			fcntl($write, F_SETFL, $flags | O_NONBLOCK);
			1 while syswrite($write, 'x' x 4096) || syswrite($write, 'x');
			fcntl($write, F_SETFL, $flags);
			POSIX::dup2(fileno($write), 2);
		}
	);
	close($write);
	wait_until('running', sub { ($s->state->{phase} // '') eq 'running' });
	$s->signal('TERM');
	wait_until('the press', sub { $s->sent(qr/system_powerdown/) });
	my $text = '';
	sysread($read, $text, 65536);
	$s->signal('QUIT');
	is($s->end, 80, 'the supervisor does not wait for it');
	$text .= join('', <$read>);
	like($text, qr/\d+ log lines lost: standard error was not read\n.*QUIT from/s, 'and tells later');
};

subtest 'closed descriptors' => sub {
	for my $fd (0 .. 2) {
		my $s = supervise(fake => [], setup => sub { POSIX::close($fd) });
		wait_until('running', sub { ($s->state->{phase} // '') eq 'running' || $s->ended });
		is(readlink('/proc/' . $s->qemu . "/fd/$fd"), '/dev/null', "QEMU's descriptor $fd is none of ours");
		stop($s, "$fd closed");
	}
	my $s = supervise(fake => [], setup => sub { POSIX::close($_) for 0 .. 2 });
	wait_until('running', sub { ($s->state->{phase} // '') eq 'running' || $s->ended });
	stop($s, 'all closed');
};

done_testing;
