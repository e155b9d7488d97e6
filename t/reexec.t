#!/usr/bin/perl
# USR2 executes the program anew, as after an upgrade: same pid, same QEMU, and nobody notices.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use POSIX ();
use T;

need('qemu-system-x86_64', 'mke2fs', 'dumpe2fs', 'prlimit');

my $off = qr/ended: the guest powered itself off \(status 0\)/;
my $copy = "$work/qemu-supervise";

# The program where it can be replaced.
sub install_copy { system('install', '-m', $_[0] // 755, $ENV{T_SUPERVISE} || "$top/qemu-supervise", $copy) == 0 or die }

# USR2, until the new one is there for the n-th time.
sub again {
	my ($s, $n) = @_;
	$s->signal('USR2');
	wait_until(sub { "reexec\n" . $s->log }, sub { (() = $s->log =~ /reexec: done/g) >= ($n || 1) });
}

sub fds { return scalar(() = glob "/proc/$_[0]/fd/*") }

subtest 'while it runs, again and again' => sub {
	my $s = running(fake => [], name => 'runs');
	my ($qemu, $inode) = ($s->qemu, (stat($s->dir . '/lock'))[1]);
	wait_until('ready', sub { $s->state->{ready} });
	my $descriptors = fds($s->{pid});
	again($s, $_) for 1 .. 5;
	ok(wait_until('descriptors', sub { fds($s->{pid}) == $descriptors + 1 }), 'no descriptor is leaked; one more is that of the process');
	is($s->qemu, $qemu, 'the same QEMU');
	is((stat($s->dir . '/lock'))[1], $inode, 'the same lock');
	is((split ' ', (split /\) /, slurp("/proc/$qemu/stat"))[1])[1], $s->{pid}, 'its parent is the same');
	unlike($s->log, qr/lost|taking over|power button/, 'nobody noticed');
	is(scalar(() = $s->sent(qr/qmp_capabilities/)), 1, 'the connection is the same');
	unlike(slurp("/proc/$s->{pid}/environ") =~ /QEMU_SUPERVISE_REEXEC=.*?"pid": ?(\d+)/ ? $1 : '', qr/^$qemu$/, 'what was passed on is not for QEMU');
	my $second = $s->successor;
	is($second->end, 75, 'the lock is held as before');
	$s->signal('TERM');
	$s->ends_with(0, $off, 'runs');
};

subtest 'in the middle of a stop' => sub {
	my $s = running(fake => ['en=0x0020'], name => 'stop');
	$s->signal('TERM');
	$s->wait_log(qr/does not listen/);
	again($s);
	$s->wait_log(qr/TERM: resuming at powerdown/);
	$s->fake(set => { en => '0x0120' });
	$s->ends_with(0, qr/$off; TERM: powerdown/, 'stop');

	$s = running(fake => ['ignore=system_powerdown'], name => 'time', options => ['-o', 'TERM=powerdown 2s, quit, kill']);
	$s->signal('TERM');
	$s->wait_log(qr/power button pressed/);
	again($s);
	$s->ends_with(80, qr/quit \(status 80\); TERM: powerdown 2\.\ds, quit/, 'time');
};

subtest 'after the agent was asked' => sub {
	my $s = running(fake => ['agent=lazy'], agent => 1, name => 'asked', options => ['-o', 'TERM=agent-shutdown 90s, quit, kill']);
	$s->signal('TERM');
	$s->wait_sent('guest-shutdown');
	$s->fake(set => { agent => 'refuses' });
	$s->wait_log(qr/agent was asked/);
	again($s);
	$s->wait_log(qr/TERM: resuming at agent-shutdown/);
	wait_until('its look', sub { $s->sent(qr/^query-chardev$/) > 2 });
	$s->fake(shutdown => 'guest-shutdown');
	$s->ends_with(0, qr/$off; TERM: agent-shutdown \d\.\ds$/, 'asked');
	is(scalar($s->sent(qr/^guest-shutdown$/)), 1, 'it was asked once');
};

subtest 'TERM together with it' => sub {
	for my $signals (['USR2', 'TERM'], ['TERM', 'USR2']) {
		my $s = running(fake => [], name => 'both');
		$s->signal(@$signals);
		$s->ends_with(0, $off, "@$signals");
	}
	my $s = running(fake => ['ignore=system_powerdown'], name => 'both', options => ['-o', 'TERM=powerdown forever']);
	for my $n (1 .. 5) {
		$s->signal('USR2');
		kill('ALRM', $s->{pid}) for 1 .. 5;
		wait_until('reexec', sub { (() = $s->log =~ /reexec: done/g) >= $n });
	}
	$s->signal('QUIT');
	$s->ends_with(80, qr/quit/, 'signals meanwhile');
};

subtest 'QEMU ends meanwhile: its status and its last words are known' => sub {
	for (['guest-shutdown', 0, 0, $off], ['guest-shutdown', 7, 83, qr/QEMU ended with status 7/]) {
		my ($reason, $exit, $status, $words) = @$_;
		my $s = running(fake => ["exit=$exit"], name => 'last');
		kill('STOP', $s->{pid});
		$s->signal('USR2');
		$s->fake(shutdown => $reason);
		wait_until('the end of QEMU', sub { slurp('/proc/' . $s->qemu . '/stat') =~ /\) Z/ });
		kill('CONT', $s->{pid});
		$s->ends_with($status, $words, "ended before, $exit");
		$s = running(fake => ["exit=$exit"], name => 'last');
		again($s);
		$s->fake(shutdown => $reason);
		$s->ends_with($status, $words, "ended after, $exit");
	}
	my $s = running(fake => [], name => 'last');
	again($s);
	$s->fake(die => 'SEGV');
	$s->ends_with(83, qr/QEMU died of SIGSEGV/, 'a signal');
};

subtest 'a program that cannot be executed' => sub {
	local $ENV{T_SUPERVISE} = $ENV{T_SUPERVISE} || "$top/qemu-supervise";
	install_copy();
	my $source = $ENV{T_SUPERVISE};
	my $s = do { local $ENV{T_SUPERVISE} = $copy; running(fake => [], name => 'broken') };
	unlink($copy);
	my $goes_on = qr/does not start with our arguments; this one goes on/;
	for my $file ([undef, 'removed', qr/No such file.*\n.*$goes_on/], ["#!/bin/false\n", 'fails', qr/$goes_on(?s:.*)$goes_on/],
		["\x7fELF nonsense", 'nonsense', qr/Exec format error/], ['text', 'no permission', qr/Permission denied/]) {
		my ($text, $what, $said) = @$file;
		spew($copy, $text), chmod($what eq 'no permission' ? 0644 : 0755, $copy) if defined $text;
		$s->signal('USR2');
		$s->wait_log($said);
		is($s->qmp->status, 'running', "$what: all goes on") if $what eq 'removed';
	}
	unlink($copy);
	install_copy();
	again($s);
	ok(1, 'after the real upgrade it is executed');
	$s->signal('TERM');
	$s->ends_with(0, $off, 'broken');
};

# Its CHLD is pending then: nobody may drop it.
subtest 'QEMU ends while the program is being executed' => sub {
	local $ENV{T_SUPERVISE} = $ENV{T_SUPERVISE} || "$top/qemu-supervise";
	my $new = $ENV{T_SUPERVISE};
	install_copy();
	my $s = do { local $ENV{T_SUPERVISE} = $copy; running(fake => [], name => 'child') };
	my $qemu = $s->qemu;
	unlink($copy);
	chmod(0755, spew($copy, <<"EOF"));
#!$^X
if (\$ARGV[0] ne '--print') {
	kill('KILL', $qemu);
	do { open(F, '/proc/$qemu/stat') } until <F> =~ /\\) Z/;
}
exec('$new', \@ARGV);
EOF
	$s->signal('USR2');
	$s->ends_with(83, qr/QEMU died of SIGKILL \(status 83\)/, 'child');
};

subtest 'a QEMU that was taken over ends meanwhile' => sub {
	install_copy();
	my $s = running(fake => [], name => 'dies');
	my $qemu = $s->qemu;
	my $next = $s->taken_over(command => [$copy, @{ $s->{command} }[1 .. $#{ $s->{command} }]]);
	$next->wait_log(qr/QEMU runs/);
	unlink($copy);
	my $new = $ENV{T_SUPERVISE} || "$top/qemu-supervise";
	my $gone = "while grep -q '^State:.[^Z]' /proc/$qemu/status; do sleep 0.01; done";
	chmod(0755, spew($copy, qq{#!/bin/sh\n[ "\$1" != --print ] || { kill -KILL $qemu; $gone; }\nexec $new "\$@"\n}));
	$next->signal('USR2');
	$next->ends_with(83, qr/\(status 83\)$/, 'dies');
};

subtest 'the signals of a program are as before' => sub {
	chmod(0755, spew("$work/mask", "#!$^X\nopen(F, '/proc/self/status'); open(O, '>>', '$work/masks'); print O grep { /SigBlk/ } <F>;\n"));
	my $s = running(fake => [], name => 'mask', options => ['-o', "ALRM=run:$work/mask"]);
	$s->signal('ALRM');
	$s->wait_log(qr/ended with status 0/);
	again($s);
	$s->signal('ALRM');
	wait_until('the other one', sub { slurp("$work/masks") =~ /\n.*\n/ });
	my ($before, $after) = slurp("$work/masks") =~ /(\w{16})/g;
	is($after, $before, 'SigBlk');
	$s->signal('TERM');
	$s->ends_with(0, $off, 'mask');
};

subtest 'a reset whose answer is unread is not done twice' => sub {
	my $s = running(fake => [], name => 'reset', options => ['-o', 'HUP=reset 100s, stop']);
	kill('STOP', $s->{pid});
	$s->signal('HUP', 'USR2');
	kill('CONT', $s->{pid});
	$s->wait_log(qr/reexec: done/);
	wait_until('its state.json', sub { @{ $s->state->{others} } && $s->state->{supervisor} == $s->{pid} });
	$s->wait_sent('system_reset');
	is($s->qmp->status, 'running', 'QEMU has heard all');
	is(scalar $s->sent(qr/system_reset/), 1, 'one reset');
	$s->signal('TERM');
	$s->ends_with(0, $off, 'reset');
};

subtest 'an answer on its way is heard' => sub {
	my $new = $ENV{T_SUPERVISE} || "$top/qemu-supervise";
	install_copy();
	my $s = do { local $ENV{T_SUPERVISE} = $copy; running(fake => ['state=guest-panicked'], name => 'answer') };
	my $qemu = $s->qemu;
	unlink($copy);
	chmod(0755, spew($copy, qq{#!/bin/sh\n[ "\$1" != --print ] || kill -CONT $qemu\nexec $new "\$@"\n}));
	kill('STOP', $qemu);
	$s->signal('HUP');
	$s->wait_log(qr/HUP from/);
	again($s);
	$s->wait_sent('system_reset');
	ok(wait_until('the guest', sub { $s->qmp->status eq 'running' }), 'the guest goes on after its reset');
	is(scalar $s->sent(qr/^cont$/), 1, 'cont, once');
	$s->signal('TERM');
	$s->ends_with(0, $off, 'answer');
};

subtest 'an answer that never comes is no hindrance' => sub {
	my $s = running(fake => ['mute=query-name'], name => 'mute', options => ['-o', 'ALRM=qmp:query-name']);
	$s->signal('ALRM');
	$s->wait_sent('query-name');
	again($s);
	unlike($s->log, qr/no answer in time/, 'it was not waited for to its end');
	$s->signal('TERM');
	$s->ends_with(0, $off, 'mute');
};

subtest 'not without the runtime directory' => sub {
	my $s = running(fake => [], name => 'away');
	rename("$work/run", "$work/run.away");
	spew("$work/run", 'no directory: it cannot be made anew');
	$s->signal('USR2');
	$s->wait_log(qr/reexec: not now: the runtime directory was removed or replaced/);
	unlink("$work/run");
	rename("$work/run.away", "$work/run");
	$s->signal('TERM');
	$s->ends_with(0, $off, 'away');
};

subtest 'not while a program runs' => sub {
	chmod(0755, spew("$work/waits", "#!/bin/sh\nwhile [ ! -e $work/done ]; do sleep 0.02; done\n"));
	my $s = running(fake => [], name => 'run', options => ['-o', "ALRM=run:$work/waits"]);
	$s->signal('ALRM');
	$s->wait_log(qr/ALRM from/);
	$s->signal('USR2');
	$s->wait_log(qr/reexec: not now: a program of a run: rung is running/);
	spew("$work/done", '');
	$s->signal('TERM');
	$s->ends_with(0, $off, 'run');
};

subtest 'readiness' => sub {
	my $s = running(fake => ['en=0x0020'], name => 'ready', options => ['--ready', 'listening', '--notify-fd', 9],
		setup => sub { open(my $fh, '>', "$work/ready"); POSIX::dup2(fileno($fh), 9) });
	again($s, $_) for 1, 2;
	is(slurp("$work/ready"), '', 'not yet');
	$s->fake(set => { en => '0x0120' });
	wait_until('ready', sub { slurp("$work/ready") eq "\n" });
	again($s, 3);
	is(slurp("$work/ready"), "\n", 'told once');
	$s->signal('TERM');
	$s->ends_with(0, $off, 'ready');
};

subtest 'a real guest' => sub {
	my $s = running(guest => 'slow-stop', delay => 2, name => 'real');
	again($s);
	$s->wait_console(qr/guest: listening/);
	$s->signal('TERM');
	$s->wait_console(qr/guest: press/);
	again($s, 2);
	$s->ends_with(0, qr/$off; TERM: powerdown/, 'real');
	ok(disk_is_clean($s->{disk}), 'file system clean');
};

done_testing;
