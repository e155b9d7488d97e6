#!/usr/bin/perl
# A start that fails is told with what QEMU, or the supervisor, has said last: by vmconf start, in status and in
# its history. QEMU's standard error goes the same way as ours, whatever becomes of its supervisor.
use strict;
use warnings;
use FindBin;
use IO::Socket::INET;
use lib $FindBin::Bin;
use POSIX ();
use T;

need('qemu-system-x86_64', 'qemu-img');

$ENV{QEMU_SUPERVISE} ||= $ENV{T_SUPERVISE} || "$top/qemu-supervise";
my ($state, $run) = map { $ENV{"QEMU_SUPERVISE_${_}_DIR"} } qw(STATE RUNTIME);

# An adapter whose log cannot be read back: that is all that is left of it.
sub adapter {
	my ($name, $redirection) = @_;
	$ENV{QEMU_SUPERVISE_INIT} = spew("$work/adapter-$name", "#!/bin/sh\n[ \$1 = start ] || exec '$top/init/none' \"\$@\"\n"
		. "setsid -f '$ENV{QEMU_SUPERVISE}' \"\$2\" </dev/null $redirection\n");
	chmod(0755, $ENV{QEMU_SUPERVISE_INIT});
}

# It does not start, and why is told in three places.
sub fails {
	my ($name, $status, $why) = @_;
	vmconf_fails($status, qr/^vmconf: cannot start $name: [^\n]*$why[^\n]* \(status $status\)/m, 'start', $name);
	like(vmconf_does('status', $name), qr/^last end .*$why.* \(status $status\)$/m, "$name: status tells it");
	like(last_end($name)->{words}, $why, 'its history has it');
}

sub create {
	my ($name, @options) = @_;
	vmconf_does('create', $name, quick(), @options);
}

my %adapters = (none => '>>"$QEMU_SUPERVISE_STATE_DIR/$2/log" 2>&1', null => '>/dev/null 2>&1', pipe => '2>&1 | cat >/dev/null');
for my $name (sort keys %adapters) {
	subtest "an adapter with $name" => sub {
		adapter($name, $adapters{$name});
		create("option-$name", '--set', 'args=["-no-such-option"]');
		mkdir("$state/option-$name");
		fails("option-$name", 69, qr/QEMU ended with status 1: -no-such-option: invalid option/);
	};
}

subtest 'what keeps QEMU from starting' => sub {
	my $port = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die;
	create('port', '--nic', 'user,hostfwd=tcp:127.0.0.1:' . $port->sockport . '-:22');
	my $definition = definition('port');
	SKIP: {
		skip('hostfwd is not taken as a string', 3) if ref $definition->{nics}[0]{hostfwd};
		vmconf_does('set', 'port', 'nics=', 'args=["-nic", "user,hostfwd=tcp:127.0.0.1:' . $port->sockport . '-:22"]');
		fails('port', 69, qr/Could not set up host forwarding rule/);
	}
	create('one', '--disk', '10M');
	vmconf_does('start', 'one');
	create('two');
	vmconf_does('set', 'two', "args=[\"-drive\", \"if=none,id=x,format=qcow2,file=$state/one/root.qcow2\"]");
	my (undef, undef, $said) = vmconf('start', 'two');
	SKIP: {
		skip('vmconf has seen it itself', 3) if $said =~ /users|is based|uses/;
		fails('two', 69, qr/Failed to get shared "write" lock|Failed to get "write" lock; Is another process using the image/);
	}
	vmconf_does('stop', 'one');
};

# Its own warnings and the words of helpers.
subtest 'what is told of more lines' => sub {
	my %told = (
		'qemu: -x: bad\nuse -y' => '-x: bad; use -y',
		'qemu: falling back\nhelper: no bridge\nqemu: bridge helper failed' => 'helper: no bridge; bridge helper failed',
		'qemu: no disk\nqemu: warning: slow' => 'no disk',
		'\033[2Jevil' => '?[2Jevil',
		'' => undef
	);
	for my $said (sort keys %told) {
		my $script = spew("$work/qemu", "#!/bin/sh\nprintf '$said' >&2\nexit 1\n");
		chmod(0755, $script);
		my $s = supervise(definition => { emulator => $script, confine => JSON::PP::false });
		is($s->end, 69, 'status 69') or diag($s->log);
		is(last_end($s->{name})->{words}, 'QEMU ended with status 1' . ($told{$said} ? ": $told{$said}" : ''), "of '$said'");
		my ($as_it_is) = map { sprintf($_ =~ s/\\033/\033/r =~ s/\\n/\n/gr) } $said;
		like($s->log =~ s{\A.*: QEMU is root, .*\n}{}r, qr/\A\Q$as_it_is\E\n?qemu-supervise: /, 'in the log it is what it was, and comes first');
		ok(!-e $s->dir, 'nothing is left');
	}
};

# Not in a subshell: it has the script's command line, and so looks like a QEMU that a wrapper has left.
subtest 'QEMU dies later' => sub {
	my $s = running(definition => T::fake_definition("$work/qemu-dies", fake_qemu('say=qemu: long ago')));
	$s->signal('QUIT');
	is($s->end, 80, 'its words are of the start');
	unlike(last_end($s->{name})->{words}, qr/long ago/, 'and are not told as those of an end that is understood');
	my $script = spew("$work/qemu-asserts", "#!/bin/sh\nexec 3>&2\nsh -c 'read -r go <$work/go; echo qemu: assertion failed >&3; kill -ABRT \$1' sh \$\$ &\n"
		. slurp("$work/qemu-dies") =~ s/\A.*\n//r);
	chmod(0755, $script);
	T::make_fifo("$work/go");
	$s = running(definition => { emulator => $script, agent => JSON::PP::true });
	spew("$work/go", "go\n");
	is($s->end, 83, 'of one that dies');
	like(last_end($s->{name})->{words}, qr/^QEMU died of SIGABRT.*: assertion failed(?:; does KVM run guests here\?.*)?$/, 'they are');
};

# What it says while nobody supervises it waits for the next one, and is never a reason to wait for QEMU.
subtest 'its supervisor dies' => sub {
	my $script = spew("$work/qemu-talks", "#!/bin/sh\nexec 3>&2\nsh -c 'for i in 1 2; do read -r n; yes \"qemu: talks\" | head -n \$n >&3; echo said \$n >>$work/said; done <>$work/talk' &\n"
		. slurp("$work/qemu-dies") =~ s/\A.*\n//r);
	chmod(0755, $script);
	T::make_fifo("$work/talk");
	my $s = running(definition => { emulator => $script, agent => JSON::PP::true });
	$s->lost;
	spew("$work/talk", "3\n");
	wait_until('words', sub { slurp("$work/said") eq "said 3\n" });
	my $next = $s->successor;
	$next->wait_log(qr/(?:qemu: talks\n){3}/);
	$next->lost;
	spew("$work/talk", "100000\n");
	wait_until('more words than there is room for', sub { slurp("$work/said") eq "said 3\nsaid 100000\n" });
	$next = $next->successor;
	$next->wait_log(qr/(?:qemu: talks\n){1000}/);
	is($next->qmp->status, 'running', 'QEMU goes on all the time');
	$next->signal('USR2');
	$next->wait_log(qr/reexec: done/);
	$next->signal('QUIT');
	like($next->end, qr/^(80|83)$/, 'it ends');
};

subtest 'the words of the supervisor' => sub {
	adapter('null', $adapters{null});
	my $long = "$work/" . 'x' x 100;
	local $ENV{QEMU_SUPERVISE_RUNTIME_DIR} = $long;
	create('long');
	fails('long', 71, qr/the path of its socket "control" would be over 107 bytes/);
	spew("$work/file", '');
	$ENV{QEMU_SUPERVISE_RUNTIME_DIR} = "$work/file";
	create('file');
	fails('file', 71, qr{cannot make the runtime directory \Q$work\E/file/file});
};

subtest 'a record that is not ours to write' => sub {
	my $s = running(definition => T::fake_definition("$work/qemu-runs", fake_qemu()), name => 'runs');
	my $second = supervise(vm => 'runs');
	is($second->end, 75, 'a second supervisor');
	local $ENV{QEMU_SUPERVISE_RUNTIME_DIR} = "$work/file";
	$second = supervise(vm => 'runs');
	is($second->end, 71, 'and one with another runtime directory');
	is_deeply(last_end('runs'), {}, 'leave none for a VM that runs');
	$s->signal('TERM');
	$s->end;
};

done_testing;
