#!/usr/bin/perl
# A supervisor is killed, and real guests do not notice: the next one goes on, and ends them cleanly.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;

need('qemu-system-x86_64', 'mke2fs', 'dumpe2fs');

my $off = qr/ended: the guest powered itself off \(status 0\)/;
my $listens = qr/guest: listening/;

sub ends_cleanly {
	my ($s, $what) = @_;
	my $qemu = $s->qemu;
	$s->ends_with(0, qr/$off/, $what);
	is(scalar(() = $s->console =~ /guest: up/g), 1, "$what: the guest was started once");
	ok(disk_is_clean($s->{disk}), "$what: file system clean");
	ok(!-e "/proc/$qemu" || slurp("/proc/$qemu/stat") =~ /\) Z /, "$what: no QEMU is left");
}

my %vm = (
	running => supervise(guest => 'normal', name => 'running'),
	booting => supervise(guest => 'slow-boot', gate => 1, name => 'booting'),
	pressed => supervise(guest => 'two-presses', name => 'pressed', options => ['--press-interval', '0s']),
	slow => supervise(guest => 'slow-stop', delay => 3, name => 'slow'),
	reboot => supervise(guest => 'normal', name => 'reboot', options => ['-o', 'USR2=reboot 60s, quit, kill']),
	paused => supervise(guest => 'normal', name => 'paused'),
	agent => supervise(guest => 'ignore', agent => 'obeys', name => 'agent', options => ['-o', 'TERM=powerdown 2s, agent-shutdown, kill', '-r', 'agent']),
	refused => supervise(guest => 'ignore', agent => 'obeys', name => 'refused'),
);

subtest 'killed while the guest boots, and stopped at once' => sub {
	my $s = $vm{booting};
	$s->wait_console(qr/guest: gate/);
	$s->signal('TERM');
	$s->wait_log(qr/does not listen to its power button yet/);
	my $next = $s->taken_over;
	$next->wait_log(qr/resuming at powerdown.*does not listen to its power button yet/s);
	$next->open_gate;
	ends_cleanly($next, 'booting');
};

subtest 'killed while it runs, twice' => sub {
	my $s = $vm{running};
	$s->wait_console($listens);
	$s = $s->taken_over for 1, 2;
	$s->signal('TERM');
	ends_cleanly($s, 'running');
};

subtest 'killed between two presses' => sub {
	my $s = $vm{pressed};
	$s->wait_console($listens);
	$s->signal('TERM');
	$s->wait_console(qr/guest: press/);
	wait_until('state.json', sub { $s->state->{presses} });
	my @command = map { $_ eq '0s' ? '2s' : $_ } @{ $s->{command} };	# the first one does not press again
	ends_cleanly($s->taken_over(command => \@command), 'pressed');
};

subtest 'killed while the guest goes down' => sub {
	my $s = $vm{slow};
	$s->wait_console($listens);
	$s->signal('TERM');
	$s->wait_console(qr/guest: press/);
	wait_until('state.json', sub { $s->state->{presses} });
	ends_cleanly($s->taken_over, 'slow');
};

subtest 'killed while the guest is paused' => sub {
	my $s = $vm{paused};
	$s->wait_console($listens);
	$s->qmp->command('stop');
	wait_until('paused', sub { $s->state->{'run-state'} eq 'paused' });
	my $next = $s->taken_over;
	$next->wait_log(qr/QEMU runs, pid \d+: paused/);
	$next->signal('TERM');
	ends_cleanly($next, 'paused');
};

subtest 'killed during a reboot' => sub {
	my $s = $vm{reboot};
	my $qemu = $s->qemu;
	$s->wait_console($listens);
	kill('STOP', $qemu);	# it goes down when nobody is there
	$s->signal('USR2');
	wait_until('state.json', sub { $s->state->{rebooting} });
	$s->lost;
	kill('CONT', $qemu);
	my $next = $s->successor;
	$next->wait_console(qr/guest: down.*$listens/s);
	is($next->qemu, $qemu, 'the same process');
	wait_until('the end of its ladder', sub { !$next->state->{ladder} && $next->state->{'set-action'}{shutdown} eq 'poweroff' });
	$next->signal('TERM');
	$next->ends_with(0, $off, 'reboot');
	ok(disk_is_clean($next->{disk}), 'file system clean');
};

subtest 'with an agent' => sub {
	my $s = $vm{agent};
	wait_until('ready', sub { $s->state->{ready} });
	$s->signal('TERM');
	$s->wait_log(qr/power button pressed/);
	my $next = $s->taken_over;
	ok(wait_until('its state.json', sub { $next->state->{supervisor} == $next->{pid} && $next->state->{ready} }), 'it is as ready as it was');
	ends_cleanly($next, 'agent');
	like($next->log, qr/powerdown 2s is over.*agent-shutdown: the guest agent was asked/s, 'the agent was asked in its turn');
};

# A VM that runs needs a supervisor, whatever has become of its definition.
subtest 'its definition is refused' => sub {
	my $s = $vm{refused};
	my $definition = "$ENV{QEMU_SUPERVISE_CONFIG_DIR}/refused.json";
	my $good = slurp($definition);
	$s->wait_console($listens);
	spew($definition, '{"memory": "plenty"}');
	my @printed = run_command($s->{command}[0], '--print', 'refused');
	is($printed[0], 78, '--print is refused');
	unlike($printed[2], qr/taken over/, 'and takes nothing over');
	$s = $s->taken_over;
	like($s->log, qr/refused.json: memory: .*\n(?:.*: see The machine in vmconf\(5\)\n)?.*: refused: it runs, and is taken over all the same, with the default ladders\n/, 'why');
	unlink($definition);
	$s = $s->taken_over(command => [$s->{command}[0], '-o', 'TERM=powerdown 1s, agent-shutdown 60s, kill', 'refused']);
	$s->signal('TERM');
	ends_cleanly($s, 'refused');
	like($s->log, qr/agent-shutdown: the guest agent was asked/, 'its agent is found');
	is((run_command($s->{command}[0], 'refused'))[0], 78, 'and it is not started again');
	ok(!-e $s->dir, 'nothing is left');
};

# A logout removes $XDG_RUNTIME_DIR under a running VM.
subtest 'without its runtime directory' => sub {
	my $s = running(guest => 'normal', agent => 'obeys', name => 'logout', options => ['-o', 'TERM=powerdown 300ms, quit 300ms, kill']);
	my $qemu = $s->qemu;
	$s->lost;
	system('rm', '-r', $s->dir);
	my $next = $s->successor;
	$next->wait_log(qr/taking over QEMU, pid $qemu,.*state.json is missing/s);
	$next->signal('TERM');
	$next->ends_with(81, qr/QEMU was killed \(status 81\); TERM: powerdown \S+, quit \S+, kill/, 'logout');
	ok(!-e "$ENV{QEMU_SUPERVISE_STATE_DIR}/logout/vm.lock", 'vm.lock is removed');
};

done_testing;
