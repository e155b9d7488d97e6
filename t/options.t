#!/usr/bin/perl
# What is wrong on the command line is said in one line, with the nearest word, and is status 64.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;

my $program = $ENV{T_SUPERVISE} || "$top/qemu-supervise";
my @qemu = ('--', fake_qemu());

sub refused {
	my ($args, $words, $what) = @_;
	my ($status, $out, $err) = run_command($program, @$args);
	is($status, 64, "$what: status 64");
	like($err, qr/\Aqemu-supervise: [^\n]*$words[^\n]*\n\z/, "$what: one line says it");
	is($out, '', "$what: nothing on stdout");
	ok(!-e "$work/run", "$what: nothing was made");
}

sub row_refused {
	my ($row, $words) = @_;
	refused(['-o', $row, @qemu], $words, $row);
}

subtest 'options' => sub {
	refused(['--tiemout', '5', @qemu], qr/unknown option "--tiemout"; did you mean "timeout"\?/, 'unknown option');
	refused(['--pritn=x', @qemu], qr/unknown option "--pritn"; did you mean "print"\?/, 'unknown option with a value');
	refused(['-z', @qemu], qr/unknown option "-z"/, 'unknown letter');
	refused(['-vz', @qemu], qr/unknown option "-z"/, 'unknown letter behind a known one');
	refused(['--print=yes', @qemu], qr/"--print"/, 'a value where none belongs');
	refused(['-n'], qr/"-n" needs a value/, 'no value');
	refused([], qr/no VM and no QEMU command line/, 'nothing');
	refused(['-v', '--'], qr/no QEMU command line/, 'no command behind --');
	refused([fake_qemu()], qr/a QEMU command line goes after/, 'no --');
	refused(['-t', '5x', @qemu], qr/--timeout: "5x" is not a TIME: 90, 90s, 2m, 1h30m, 1500ms, 0 or forever/, 'timeout');
	refused(['--press-interval', '', @qemu], qr/--press-interval: "" is not a TIME/, 'press interval');
	refused(['--boot-timeout', '-1', @qemu], qr/--boot-timeout: "-1" is not a TIME/, 'boot timeout');
	refused(['-r', 'listenign', @qemu], qr/"listenign"; did you mean "listening"\? \(started, listening, agent\)/, 'ready');
	refused(['--notify-fd', 'one', @qemu], qr/--notify-fd: "one"/, 'notify descriptor');
	refused(['--notify-fd', '77', @qemu], qr/--notify-fd 77: Bad file descriptor/, 'a descriptor that is not open');
	for my $name ('', '.', '..', '-x', '_x', 'a/b', 'a b', "a\n", 'ä', 'x' x 65) {
		refused(["--name=$name", @qemu], qr/--name: ".*?" cannot be the name of a VM: up to 64 /, "name \"$name\"");
	}
};

# They are for command lines of QEMU.
subtest 'a definition' => sub {
	refused(['--name', 'web', 'mail'], qr/--name web: the VM mail has its name from its definition; --name is for QEMU/, '--name');
	for my $confine ('--confine', '--confine=read:/x') {
		refused([$confine, 'mail'], qr/--confine: the VM mail is confined as its definition says \("confine"\)/, $confine);
	}
	refused(["--confine=$_", @qemu], qr/--confine=\Q$_\E: expected read:PATH, write:PATH or execute:PATH/, "--confine=$_")
		for 'read', 'read:', 'all:/x', '';
};

subtest 'QEMU' => sub {
	refused([@qemu, $_], qr/$_ would take QEMU away from its supervisor/, $_) for '-daemonize', '--daemonize';
	refused(['--', 'nice', 'qemu-system-x86_64', '-daemonize'], qr/-daemonize would take/, '-daemonize behind a wrapper');
	refused([@qemu, '-name', 'my guest'], qr/-name "my guest" .* --name/, 'a -name of QEMU that cannot be ours');
};

subtest 'triggers' => sub {
	row_refused('TREM=ignore', qr/unknown trigger "TREM"; did you mean "TERM"\?/);
	row_refused('SIGTREM=ignore', qr/unknown trigger "SIGTREM"; did you mean "TERM"\?/);
	row_refused('term=ignore', qr/unknown trigger "term"; did you mean "TERM"\?/);
	row_refused('=ignore', qr/unknown trigger ""/);
	row_refused('KILL=ignore', qr/unknown trigger "KILL"; that signal cannot/);
	row_refused('SEGV=ignore', qr/unknown trigger "SEGV"; that signal means a fault/);
	row_refused('RTMIN=ignore', qr/unknown trigger "RTMIN"; RTMIN brings a deadline/);
	row_refused('RTMIN+99=ignore', qr/unknown trigger "RTMIN\+99"/);
	row_refused('TERM', qr/"TERM" is not a TRIGGER=LADDER/);
};

subtest 'actions' => sub {
	my $actions = qr/\(actions: powerdown, .*, run:PROGRAM, status, reexec, ignore\)/;
	row_refused('HUP=rest', qr/unknown action "rest"; did you mean "reset"\? $actions/);
	row_refused('HUP=save 5s', qr/unknown action "save".* $actions/);
	row_refused('HUP=reset 5x', qr/"5x" after reset is not a TIME: 90/);
	row_refused('HUP=reset 5s 6s', qr/"5s 6s" after reset is not a TIME/);
	row_refused("HUP=$_", qr/a rung is empty/) for '', ' ', 'reset,', ',reset', 'stop,,cont';
	row_refused('HUP=reset:now', qr/unknown action "reset:now"/);
	row_refused('HUP=qmp', qr/unknown action "qmp"/);
	row_refused('HUP=qmp:', qr/"qmp:" needs a command after the colon/);
	row_refused('HUP=qmp:x y', qr/"qmp:x y" is not a QMP command/);
	row_refused('HUP=qmp:{"a', qr/"qmp:\{"a" is not JSON/);
	row_refused('HUP=qmp:{"a": 1}', qr/has no "execute"/);
	row_refused('HUP=qmp:{"execute": "stop", "id": 1}', qr/has the key "id"/);
	row_refused('HUP=run:', qr/"run:" needs a program after the colon/);
	row_refused('HUP=run:hook', qr/"run:hook" needs the whole path/);
};

subtest 'ladders that end the VM' => sub {
	row_refused("TERM=$_", qr/must end in "kill" or in a rung of TIME "forever"/)
		for 'powerdown', 'powerdown 5s, quit 5s', 'agent-shutdown', 'quit', 'powerdown 5s, status';
	row_refused('TERM=kill, quit 5s, kill', qr/a rung after "kill" is never reached/);
	for my $ladder ('kill', 'quit forever', 'powerdown 5s, run:/bin/true forever', 'status', 'reboot, reset') {
		my ($status, undef, $err) = run_command($program, '-p', '-o', "TERM=$ladder", @qemu);
		is("$status$err", '0', "$ladder is taken");
	}
};

subtest 'events' => sub {
	row_refused($_, qr/would trigger itself/) for 'POWERDOWN=powerdown, kill', 'RESET=reset', 'STOP=stop',
		'RESUME=qmp:cont', 'WAKEUP=wakeup', 'RESET=status, reboot 5s',
		'POWERDOWN=qmp:{"execute": "system_powerdown"}', 'STOP=qmp:{"execute": "stop", "arguments": {}}, status';
	my ($status, $out, $err) = run_command($program, '-p', '-o', 'GUEST_PANICED=status', @qemu);
	is($status, 0, 'an unknown event is taken');
	like($err, qr/\A[^\n]*"GUEST_PANICED"[^\n]*"GUEST_PANICKED"[^\n]*\n\z/, 'with a warning that names the nearest');
	like($out, qr/^GUEST_PANICED status$/m, 'and it is in the policy');
	($status, $out, $err) = run_command($program, '-p', '-o', 'WARP_CORE_BREACH=status', @qemu);
	unlike($err, qr/did you mean/, 'none is named where none is near');
	is($status, 0, 'but it is taken');
};

subtest 'help and version' => sub {
	my ($status, $out, $err) = run_command($program, '--help');
	is("$status$err", '0', '--help is no error');
	like($out, qr/\Ausage: qemu-supervise.*--press-interval/s, 'and says how');
	($status, $out, $err) = run_command($program, '-V');
	is("$status$err", '0', '-V is no error');
	like($out, qr/\Aqemu-supervise \d+\.\d+\.\d+\n\z/, 'and says which');
};

done_testing;
