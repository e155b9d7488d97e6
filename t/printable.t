#!/usr/bin/perl
# What a guest, QEMU, an image or a file says cannot control a terminal, a log, an init system or a program that reads JSON.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use JSON::PP;
use Socket qw(AF_UNIX SOCK_DGRAM pack_sockaddr_un);
use T;

need('qemu-img');

# C0, a forged line, DEL, C1 in UTF-8, and what turns text round.
my $evil = "a\e[2J\nforged: all is well\x7f\x{9b}31m\x{202e}z";
my $harmless = qr/a\?\[2J forged: all is well\?\?31m(?:\?z)?/;
my $json = JSON::PP->new->canonical->ascii->allow_nonref;

sub control_free {
	my ($text, $what) = @_;
	unlike($text, qr/[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80\xae/, "$what: nothing that a terminal obeys");
	unlike($text, qr/^forged/m, "$what: no forged line");
}

# The output of vmconf, on both streams.
sub prints {
	my ($expected, @words) = @_;
	my (undef, $out, $err) = vmconf(@words);
	control_free("$out$err", "vmconf @words");
	like("$out$err", $expected, "vmconf @words: the rest of it is there");
	return $out;
}

sub parsed {
	my (@words) = @_;
	my $out = prints(qr/^[\[{"]/, @words);
	return decode_json($out);
}

# vmconf needs the public socket, too.
sub fake {
	my ($s, %what) = @_;
	$s->fake(%what);
	delete $s->{public};
}

my $say = spew("$work/say", "QEMU: \e]0;title\a\xc2\x9b\xff\n");
my $s = running(fake => ['say=' . T::slurp($say)], agent => 'fake', name => 'web', options => ['-v']);

subtest 'a guest' => sub {
	my @addresses = ("10.0.0.5\e[2J", "10.0.0.6\nforged", '-oProxyCommand=reboot', '10.0.0.7', 'fe80::1', '2001:db8::7', '10.0.0', '1.2.3.4 5', "10.0.0.8\0x", 7, {}, '');
	my $nics = [{ 'ip-addresses' => [map { { 'ip-address' => $_ } } @addresses] }, 5, { 'ip-addresses' => 'x' }];
	fake($s, set => { 'agent-returns' => { 'guest-network-get-interfaces' => $json->encode($nics) } });
	my $out = prints(qr/^address +10\.0\.0\.7\naddress +2001:db8::7\n/m, 'status', 'web');
	is(scalar(() = $out =~ /^address/mg), 2, 'only addresses are');
	is_deeply(parsed('status', 'web', '--json')->{addresses}, ['10.0.0.7', '2001:db8::7'], 'also in JSON');
};

subtest 'QEMU' => sub {
	fake($s, set => { returns => { 'query-name' => $json->encode({ name => $evil }), 'query-status' => $json->encode({ status => $evil }) } });
	is_deeply(parsed('qmp', 'web', 'query-name'), { name => $evil }, 'what a command returns is the same, escaped');
	prints(qr/^run state +$harmless$/m, 'status', 'web');
	is(parsed('status', 'web', '--json')->{'run-state'}, $evil, 'JSON loses nothing');
	fake($s, set => { returns => {} });
	prints(qr/web: $harmless: refused|web: \S+: /, 'qmp', 'web', 'no-such-command');
	fake($s, set => { returns => { 'query-status' => $json->encode({ status => $evil }) } }, event => 'STOP');
	fake($s, raw => $json->encode({ event => $evil, data => {} }));
	$s->wait_log(qr/event $harmless/);
	wait_until('the run state in state.json', sub { ($s->state->{'run-state'} // '') =~ /forged/ });
	prints(qr/^web +running/m, 'list');
	is(parsed('list', '--json')->{vms}[0]{state}, 'running', 'list --json');
};

subtest 'the log' => sub {
	my $before = $s->log;
	like($before, qr/\e\]0;title/, "QEMU's own words are in it as they are");
	unlike(join('', grep { /^qemu-supervise/ } split /^/, $before), qr/[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]/, "ours are clean");
	spew("$ENV{QEMU_SUPERVISE_STATE_DIR}/web/log", "$before\xe2\x82\xac\tx\n" . 'y' x 100_000 . "\0\nno end");
	my $out = prints(qr/^QEMU: \?\]0;title\?\?\?$/m, 'log', 'web');
	like($out, qr/^\xe2\x82\xac\tx\n(?:yyyyyyyyyy){10000}\?\nno end\z/m, 'all of it is printed');
	unlink "$ENV{QEMU_SUPERVISE_STATE_DIR}/web/log";
	my (undef, $none) = vmconf('log', 'web');
	is($none, '', 'no log, no output');
};

subtest 'the end' => sub {
	fake($s, set => { reason => $evil, returns => {} }, shutdown => 'guest-shutdown');
	is($s->end, 83, 'a reason that nobody knows');
	prints(qr/QEMU ended: $harmless/, 'list');
	prints(qr/last end .*QEMU ended: $harmless \(status 83\)/, 'status', 'web');
	like(parsed('list', '--json')->{vms}[0]{reason}, qr/QEMU ended: $harmless/, 'in JSON as well');
	my $end = "$ENV{QEMU_SUPERVISE_STATE_DIR}/web/last-end.json";
	spew($end, $json->encode({ version => 1, status => 83, words => $evil, ended => 5 }));
	prints(qr/  $harmless$/m, 'list');
	spew($end, qq({"version": 1, "status": 83, "words": "\xc2\x9b\\u009b\xe2\x80\xae\\u0000x", "ended": 5}));
	prints(qr/83|web/, 'status', 'web');
};

# A line of its own would be a message of its own: MAINPID=1.
subtest 'the init system' => sub {
	socket(my $notify, AF_UNIX, SOCK_DGRAM, 0) or die;
	bind($notify, pack_sockaddr_un("$work/notify")) or die;
	my $v = running(fake => [], env => { NOTIFY_SOCKET => "$work/notify" });
	fake($v, set => { returns => { 'query-status' => $json->encode({ status => "x\nMAINPID=1\e" }) } }, event => 'STOP');
	my $said = '';
	wait_until('STATUS', sub { recv($notify, $said, 4096, 0); $said =~ /MAINPID/ });
	is($said, 'STATUS=Guest: x MAINPID=1?', 'STATUS= is one line');
	$v->signal('QUIT');
	$v->end;
};

# Whoever has taken over QEMU may write into the state directory: each text of each file there, and of the supervisor's own, is that.
subtest 'files of a VM' => sub {
	my ($state, $run) = @ENV{qw(QEMU_SUPERVISE_STATE_DIR QEMU_SUPERVISE_RUNTIME_DIR)};
	my $v = running(agent => 'fake', fake => [], name => 'files');
	my %event = (version => 1, time => '2026-10-02T03:04:05Z', started => 5, ended => 9, at => 7, 'boot-id' => $evil, status => 83, pid => 7);
	my %said = map { $_ => $evil } qw(words qemu trigger from message reason helper);
	my $evil_rung = { trigger => $evil, action => $evil, ms => 5 };
	my $bytes = $json->encode({ %event, %said, event => 'end', rungs => [$evil_rung], ladder => [$evil_rung], console => [$evil, "\e]0;x\a"] }) . "\n"
		. join('', map { $json->encode({ %event, %said, event => $_ }) . "\n" } 'start', 'helper', $evil);
	spew("$state/files/history.jsonl", $bytes =~ s/\\u009b/\xc2\x9b/gr);
	prints(qr/forged/, 'history', 'files');
	prints(qr/forged/, 'history');
	is((grep { $_->{event} eq 'end' } @{ parsed('history', 'files', '--json')->{history} || [] })[0]{words} // 'none', $evil, 'JSON loses nothing');
	my $told = $v->state;
	my $turn;
	$turn = sub {
		my ($value, $key) = @_;
		return { map { $_ => $turn->($value->{$_}, $_) } keys %$value } if ref $value eq 'HASH';
		return [map { $turn->($_, '') } @$value] if ref $value eq 'ARRAY';
		return ref $value || !defined $value || $value =~ /^[\d.-]+\z/ || $key eq 'phase' ? $value : $evil;
	};
	spew("$run/files/state.json", $json->encode($turn->($told, '')));
	for (['list'], ['list', '--json'], ['status', 'files'], ['status', 'files', '--json'], ['metrics'], ['ip', 'files'], ['rehearse'],
		['check', 'files'], ['doctor'], ['confine', 'files'], ['ssh-config', 'files'], ['watch', '--help']) {
		prints(qr/\S/, @$_);
	}
	spew("$run/files/state.json", $json->encode({ %$told, 'run-state' => 'io-error', why => $evil }));
	prints(qr/io-error: a\?/, 'list');
	my $out = "$work/watched";
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		open(STDOUT, '>', $out);
		exec $ENV{T_VMCONF} || "$top/vmconf", 'watch' or POSIX::_exit(127);
	}
	wait_until('watch', sub { slurp("/proc/$pid/wchan") =~ /poll/ });
	fake($v, set => { returns => { 'query-status' => $json->encode({ status => $evil }) } }, event => 'STOP');
	wait_until('the change', sub { slurp($out) =~ /files/ });
	kill('INT', $pid);
	waitpid($pid, 0);
	control_free(slurp($out), 'vmconf watch');
	$v->signal('QUIT');
	$v->end;
};

# A word that nobody can type is not offered, and what is said of others is harmless.
subtest 'completion' => sub {
	my $images = "$ENV{QEMU_SUPERVISE_STATE_DIR}/images";
	mkdir($images);
	spew("$images/$_.qcow2", '') for "debian12", "debian\e[2J\nforged";
	T::define('described', { tags => ['x'], description => 'd' });
	is_deeply([split /\n/, vmconf_does('--complete', 'create', '--image', 'deb')], ['debian12', ':files'], 'the name of an image');
};

# The name of a feature that QEMU does not know stands in the image.
subtest 'an image' => sub {
	my $image = "$work/evil.qcow2";
	is((run_command('qemu-img', 'create', '-q', '-f', 'qcow2', $image, '1M'))[0], 0, 'an image');
	my $text = T::slurp($image);
	substr($text, 72, 8) = pack('Q>', 1 << 40);
	substr($text, index($text, "\x68\x03\xf8\x57") + 8, 48) = pack('CCa46', 0, 40, "\e[2J\nforged");
	spew($image, $text);
	my $said = prints(qr/\?\[2J/, 'create', 'x', '--image', $image);
	my ($status, undef, $err) = vmconf('create', 'x', '--image', $image);
	is($status, 1, 'it is refused') or diag($err);
};

done_testing;
