#!/usr/bin/perl
# A supervisor dies at every point of its work: the next one takes its QEMU over and goes on there.
use strict;
use warnings;
use Fcntl qw(F_GETFD F_SETFD O_RDWR O_CREAT);
use FindBin;
use lib $FindBin::Bin;
use POSIX ();
use T;

my $off = qr/ended: the guest powered itself off \(status 0\)/;
my $press = qr/power button pressed/;

sub presses { return scalar($_[0]->sent(qr/system_powerdown/)) }

subtest 'while it runs' => sub {
	my $s = running(fake => ['-no-reboot'], name => 'runs');
	wait_until('ready', sub { $s->state->{ready} });
	my %before = %{ $s->state };
	my @files = map { [$_, (stat($s->dir . "/$_"))[1]] } qw(control qmp);
	my $lock = (stat("$work/state/runs/vm.lock"))[1];
	my $next = $s->taken_over;
	$next->wait_log(qr/QEMU runs, pid $before{pid}: running/);
	wait_until('its state.json', sub { $next->state->{supervisor} == $next->{pid} && $next->state->{'run-state'} });
	is($next->state->{$_}, $before{$_}, "state.json: $_") for qw(name pid ready phase run-state memory);
	cmp_ok(abs($next->state->{started} - $before{started}), '<=', 1, 'state.json: started');
	is((stat($next->dir . "/$_->[0]"))[1], $_->[1], "$_->[0] is the same file") for @files;
	is((stat("$work/state/runs/vm.lock"))[1], $lock, 'vm.lock is the same file');
	is_deeply($next->state->{'set-action'}, { reboot => 'shutdown', shutdown => 'poweroff' }, 'what is set in QEMU');
	is(slurp($next->dir . '/lock'), "$next->{pid}\n", 'lock names the new one');
	$next->signal('USR1');
	$next->wait_log(qr/status: running, QEMU's pid is $before{pid}, up \d+s, no ladder in progress/);
	$next->signal('TERM');
	$next->ends_with(0, qr/$off; TERM: powerdown/, 'runs');
	ok(!-e "$work/state/runs", 'nothing is left of its state directory');
	is(presses($next), 1, 'one press');
};

subtest 'twice in a row, and its own TERM' => sub {
	my $s = running(fake => ['ignore=system_powerdown'], name => 'twice', options => ['-o', 'TERM=powerdown forever']);
	my $qemu = $s->qemu;
	$s = $s->taken_over for 1, 2;
	$s->signal('TERM');
	$s->wait_log($press);
	$s = $s->taken_over for 1, 2;
	$s->wait_log(qr/TERM: resuming at powerdown/);
	is($s->qemu, $qemu, 'the same QEMU');
	$s->signal('QUIT');
	$s->ends_with(80, qr/quit \(status 80\); TERM: powerdown \d\S+; QUIT: quit/, 'twice');
};

subtest 'before the greeting' => sub {
	my $s = supervise(fake => ['no-greeting'], name => 'mute');
	wait_until('state.json', sub { $s->state->{pid} });
	is($s->state->{phase}, 'starting', 'nothing was heard of it');
	my $next = $s->taken_over;
	$next->wait_log(qr/QEMU runs/);
	ok(1, 'it speaks on the public socket');
	$next->signal('TERM');
	$next->ends_with(0, $off, 'mute');
};

subtest 'while it waits for a guest that is deaf' => sub {
	my $s = running(fake => ['en=0x0020'], name => 'deaf');
	$s->signal('TERM');
	$s->wait_log(qr/does not listen to its power button yet/);
	my $next = $s->taken_over;
	$next->wait_log(qr/TERM: resuming at powerdown.*does not listen to its power button yet/s);
	is($next->state->{ladder}{held}, JSON::PP::true(), 'its TIME does not run');
	is(presses($next), 0, 'no press');
	$next->fake(set => { en => '0x0120' });
	$next->ends_with(0, qr/$off; TERM: powerdown/, 'deaf');
	is(presses($next), 1, 'one press');
};

subtest 'after the press: the time that is left' => sub {
	my $s = running(fake => ['ignore=system_powerdown'], name => 'pressed', options => ['-o', 'TERM=powerdown 3s, quit, kill']);
	$s->signal('TERM');
	$s->wait_log($press);
	wait_until('state.json', sub { $s->state->{presses} == 1 });
	my $clock = $s->state->{ladder}{clock};
	my $next = $s->taken_over;
	$next->wait_log(qr/power button pressed again/);
	wait_until('its state.json', sub { $next->state->{presses} == 2 });
	is_deeply([@{ $next->state->{ladder} }{qw(trigger rung action held)}], ['TERM', 0, 'powerdown', JSON::PP::false()], 'the rung');
	cmp_ok(abs($next->state->{ladder}{clock} - $clock), '<=', 2, 'its TIME runs from the same instant');
	$next->ends_with(80, qr/quit \(status 80\); TERM: powerdown [3-9]\.\ds, quit/, 'pressed');
	like($next->log, qr/powerdown 3s is over/, 'the rung was climbed when it was over');
};

subtest 'its TIME is over meanwhile' => sub {
	my $s = running(fake => ['ignore=system_powerdown,quit'], name => 'late', options => ['-o', 'TERM=powerdown 50ms, quit 300ms, kill']);
	$s->signal('TERM');
	$s->wait_log(qr/powerdown 50ms is over/);
	wait_until('quit', sub { $s->state->{ladder}{action} eq 'quit' });
	my $until = $s->state->{ladder}{clock} + 300;
	$s->lost;
	wait_until('the end of its TIME', sub { (split ' ', slurp('/proc/uptime'))[0] * 1000 > $until });
	my $next = $s->successor;
	$next->ends_with(81, qr/QEMU was killed \(status 81\); TERM: powerdown 0\.\ds, quit \d\S+, kill/, 'late');
	like($next->log, qr/resuming at quit.*quit 300ms is over.*kill: SIGKILL to QEMU/s, 'quit, and at once kill');
	is(scalar($next->sent(qr/^quit$/)), 1, 'quit was not said again');
};

subtest "during quit's TIME" => sub {
	my $s = running(fake => ['ignore=quit'], name => 'quit', options => ['-o', 'TERM=quit forever']);
	$s->signal('TERM');
	$s->wait_sent('quit');
	wait_until('state.json', sub { ($s->state->{ladder}{action} // '') eq 'quit' });
	$s->fake(set => { ignore => '' });
	my $next = $s->taken_over;
	$next->ends_with(80, qr/quit \(status 80\); TERM: quit/, 'quit');
};

subtest 'after SHUTDOWN, while it flushes' => sub {
	my $s = running(fake => ['flushes'], name => 'flush');
	$s->signal('TERM');
	$s->wait_log(qr/SHUTDOWN: guest-shutdown/);
	wait_until('state.json', sub { $s->state->{outcome}{reason} eq 'guest-shutdown' });
	my $next = $s->taken_over;
	wait_until('its state.json', sub { $next->state->{supervisor} == $next->{pid} });
	is($next->state->{phase}, 'stopping', 'it is known that it is ending');
	$next->fake(exit => 1);
	$next->ends_with(0, qr/$off; TERM: powerdown/, 'flush');
	is(presses($next), 1, 'no second press');
	$s = running(fake => ['flushes'], name => 'flush2');
	$s->fake(shutdown => 'guest-shutdown');
	wait_until('state.json', sub { $s->state->{outcome}{reason} eq 'guest-shutdown' });
	$next = $s->taken_over;
	$next->fake(exit => 1);
	$next->ends_with(0, qr/$off$/, 'whoever asked');
};

subtest 'nobody has seen its SHUTDOWN' => sub {
	my $s = running(fake => ['flushes'], name => 'unseen');
	my $public = $s->qmp;
	$s->lost;
	$public->command('fake', { shutdown => 'guest-shutdown' });
	$public->wait_event('SHUTDOWN');
	my $next = $s->successor;
	$next->wait_log(qr/taking over QEMU/);
	$public->command('fake', { exit => 1 });
	$next->ends_with(83, qr/without a SHUTDOWN event that anybody saw.*\(status 83\)$/, 'unseen');
};

# What went on when nobody looked has not ended well because it once had.
subtest 'it went on while nobody looked' => sub {
	my $s = running(fake => [], name => 'migrated');
	my $public = $s->qmp;
	$public->command('stop');
	wait_until('paused', sub { $s->state->{'run-state'} eq 'paused' });
	$public->command('fake', { event => 'MIGRATION', data => { status => 'completed' }, state => 'postmigrate' });
	wait_until('state.json', sub { $s->state->{outcome}{migrated} });
	$s->lost;
	$public->command('cont');
	my $next = $s->successor;
	$next->wait_log(qr/QEMU runs.*running/);
	$next->signal('QUIT');
	$next->ends_with(80, qr/quit \(status 80\)/, 'migrated');
	$s = running(fake => ['-no-shutdown'], name => 'round');
	$public = $s->qmp;
	$public->command('fake', { shutdown => 'guest-shutdown' });
	wait_until('state.json', sub { $s->state->{outcome}{reason} });
	$s->lost;
	$public->command($_) for qw(system_reset cont stop);
	$next = $s->successor;
	$next->wait_log(qr/QEMU runs.*paused/);
	$next->signal('QUIT');
	$next->ends_with(80, qr/quit \(status 80\)/, 'down, reset, gone on, paused');
	$s = running(fake => ['-no-shutdown'], name => 'lost');
	$public = $s->qmp;
	$public->command('fake', { shutdown => 'guest-shutdown' });
	wait_until('state.json', sub { $s->state->{outcome}{reason} });
	$public->command('fake', { close => JSON::PP::true() });
	$public->command($_) for qw(system_reset cont);
	$s->wait_log(qr/QMP is there again/);
	wait_until('it is known', sub { !$s->state->{outcome}{reason} });
	$s->signal('QUIT');
	$s->ends_with(80, qr/quit \(status 80\)/, 'the same without a connection');
};

subtest 'panicked before' => sub {
	my $s = running(fake => [], name => 'panicked');
	$s->fake(event => 'GUEST_PANICKED', data => { action => 'run' });
	wait_until('state.json', sub { $s->state->{outcome}{panicked} });
	my $next = $s->taken_over;
	$next->signal('TERM');
	$next->ends_with(82, qr/the guest panicked/, 'panicked');
};

subtest 'killed by us' => sub {
	my $s = running(fake => [], name => 'killed', options => ['-o', 'TERM=kill']);
	my $next = $s->taken_over;
	$next->signal('TERM');
	$next->ends_with(81, qr/QEMU was killed \(status 81\); TERM: kill/, 'killed');
};

subtest 'a reboot' => sub {
	my @o = (options => ['-o', 'USR2=reboot 100s, reset']);
	my $s = running(fake => ['en=0x0020'], name => 'reboot', @o);
	$s->signal('USR2');
	$s->wait_log(qr/reboot: the guest does not listen/);
	my $next = $s->taken_over;
	$next->wait_log(qr/USR2: resuming at reboot/);
	$next->fake(set => { en => '0x0120' });
	$next->wait_log(qr/reboot: the guest is down, starting it again/);
	wait_until('reset', sub { $next->state->{'set-action'}{shutdown} eq 'poweroff' });
	is($next->state->{phase}, 'running', 'it was started again');
	is($next->state->{outcome}{reason}, '', 'no SHUTDOWN counts any more');
	# It goes down while nobody is there.
	$next->fake(set => { ignore => 'system_powerdown' });
	$next->signal('USR2');
	$next->wait_log(qr/reboot: power button pressed/);
	wait_until('state.json', sub { $next->state->{rebooting} });
	my $public = $next->{public};
	$next->lost;
	$public->command('fake', { shutdown => 'guest-shutdown', set => { ignore => '' } });
	$public->wait_event('STOP');
	my $third = $next->successor;
	$third->wait_log(qr/reboot: the guest is down, starting it again/);
	wait_until('reset', sub { $third->state->{'set-action'}{shutdown} eq 'poweroff' && @{ $third->state->{others} } == 0 });
	ok(wait_until('cont', sub { $public->status eq 'running' }), 'cont, too');
	$third->signal('TERM');
	$third->ends_with(0, $off, 'reboot');
};

subtest 'what is not done twice' => sub {
	my $s = running(fake => [], name => 'once', options => ['-o', 'USR2=reset 100s, stop', '-o', 'VTALRM=run:/bin/true forever']);
	$s->signal('USR2');
	$s->wait_sent('system_reset');
	wait_until('state.json', sub { @{ $s->state->{others} } && !$s->state->{others}[0]{held} });
	my $next = $s->taken_over;
	$next->wait_log(qr/USR2: resuming at reset/);
	$next->wait_log(qr/QEMU runs/);
	is(scalar($next->sent(qr/system_reset/)), 1, 'reset');
	is($next->state->{others}[0]{action}, 'reset', 'its TIME goes on');
	$next->signal('TERM');
	$next->ends_with(0, $off, 'once');
};

subtest 'a deadline' => sub {
	my $s = running(fake => ['ignore=system_powerdown'], name => 'deadline');
	$s->deadline(8);
	$s->wait_log($press);
	wait_until('state.json', sub { $s->state->{ladder}{deadline} });
	my $deadline = $s->state->{ladder}{deadline};
	my $next = $s->taken_over;
	wait_until('its state.json', sub { $next->state->{supervisor} == $next->{pid} });
	cmp_ok(abs($next->state->{ladder}{deadline} - $deadline), '<=', 2, 'the same instant');
	$next->ends_with(80, qr/quit \(status 80\); TERM: powerdown [56]\.\ds, agent-shutdown \S+, quit/, 'deadline');
};

# The guest is on its way down: an agent that is asked again refuses, and that is no reason to quit.
subtest 'after the agent was asked' => sub {
	my $s = running(fake => ['agent=lazy'], agent => 1, name => 'asked', options => ['-o', 'TERM=agent-shutdown 90s, quit, kill']);
	$s->signal('TERM');
	$s->wait_sent('guest-shutdown');
	wait_until('state.json', sub { $s->state->{'agent-asked'} });
	$s->qmp->command('fake', { set => { agent => 'refuses' } });
	my $next = $s->taken_over;
	$next->wait_log(qr/TERM: resuming at agent-shutdown/);
	wait_until('its look', sub { $next->sent(qr/^query-chardev$/) > 2 });
	is_deeply([@{ $next->state->{ladder} }{qw(trigger action)}], ['TERM', 'agent-shutdown'], 'the rung goes on');
	$next->fake(state => 'paused', event => 'STOP');
	$next->wait_log(qr/agent-shutdown: run state paused: cont/);
	$next->fake(shutdown => 'guest-shutdown');
	$next->ends_with(0, qr/$off; TERM: agent-shutdown \d\.\ds$/, 'asked');
	is(scalar($next->sent(qr/^guest-shutdown$/)), 1, 'it was asked once');

	# A refusal is kept, too: where that rung is the last one, it is asked again.
	$s = running(fake => ['agent=refuses'], agent => 1, name => 'asked', options => ['-o', 'TERM=agent-shutdown forever']);
	$s->signal('TERM');
	$s->wait_log(qr/guest-shutdown is disabled/);
	wait_until('state.json', sub { $s->state->{ladder}{undone} && !$s->state->{'agent-asked'} });
	$s->qmp->command('fake', { set => { agent => 'lazy' } });
	$next = $s->taken_over;
	$next->wait_log(qr/guest agent was asked/);
	$next->wait_log(qr/QEMU runs/);
	is(scalar($next->sent(qr/^guest-shutdown$/)), 2, 'refused before: it is asked again');
	$next->fake(shutdown => 'guest-shutdown');
	$next->ends_with(0, qr/$off; TERM: agent-shutdown/, 'refused before');
};

subtest 'state.json' => sub {
	for (['garbage', '{"version": 1, "na'], ['another QEMU', '{"version": 1, "pid": 1}'], ['nothing', '']) {
		my ($what, $text) = @$_;
		my $s = running(fake => ['ignore=system_powerdown'], name => 'json', options => ['-o', 'TERM=powerdown forever']);
		$s->signal('TERM');
		$s->wait_log($press);
		$s->lost;
		$text ? spew($s->dir . '/state.json', $text) : unlink($s->dir . '/state.json');
		my $next = $s->successor;
		$next->wait_log(qr{json/state.json is missing, damaged or of another QEMU});
		$next->wait_log(qr/QEMU runs/);
		is($next->state->{ladder}, undef, "$what: no ladder");
		my ($last) = reverse grep { $_->{execute} eq 'set-action' } $next->sent;
		is($last->{arguments}{reboot}, 'reset', "$what: what a ladder has set is put back");
		$next->fake(set => { ignore => '' });
		$next->signal('TERM');
		$next->ends_with(0, $off, $what);
	}
};

# Fields that no supervisor has written.
subtest 'state.json that lies' => sub {
	my $s = running(fake => [], name => 'lies', options => ['-o', 'TERM=powerdown forever']);
	$s->fake(set => { ignore => 'system_powerdown' });
	$s->signal('TERM');
	$s->wait_log($press);
	my $next;
	my $state;
	for my $lie (
		{ rung => 1000000 }, { rung => -1 }, { began => 9e18, clock => -9e18, extra => 9e18 }, { action => 'fly' },
		{ trigger => 'NONE' }, { trigger => 7 }, { deadline => -5 }, { climbed => [7, {}, { trigger => 'TERM', action => 'kill', ms => -1 }] }
	) {
		wait_until('state.json', sub { $s->state->{supervisor} == $s->{pid} && $s->state->{ladder} });
		$s->lost;
		$state = $s->state;
		$state->{ladder} = { %{ $state->{ladder} }, map { $_ => $lie->{$_} } keys %$lie };
		spew($s->dir . '/state.json', JSON::PP::encode_json($state));
		$s = $s->successor;
		$s->wait_log(qr/QEMU runs/);
		$s->signal('TERM') unless $s->log =~ /TERM: going on|TERM from/;
		ok($s->wait_log(qr/TERM: resuming at powerdown|TERM from/), join(' ', %$lie));
	}
	$s->signal('QUIT');
	$s->ends_with(80, qr/quit/, 'lies');
};

# A container may show a boot id to one process and another one to the next: who holds the lock is who was started then.
subtest 'whose state.json, and whose vm.lock' => sub {
	my ($boot) = slurp('/proc/sys/kernel/random/boot_id') =~ /(\S+)/;
	my $other = '00000000-0000-0000-0000-000000000000';
	my $goes_on = qr/TERM: resuming at powerdown/;
	my $unknown = qr/state\.json is missing, damaged or of another QEMU/;
	for (
		['another boot id', { boot => $other }, $goes_on, $other],
		['of 0.1.0', { start => undef }, $goes_on],
		['of 0.1.0, and another boot', { start => undef, boot => $other }, $unknown],
		['started at another time', { start => 1 }, $unknown],
		['another pid', { pid => 1 }, $unknown]
	) {
		my ($what, $change, $expected, $record) = @$_;
		my $s = running(fake => ['ignore=system_powerdown'], name => 'boot', options => ['-o', 'TERM=powerdown forever']);
		$s->signal('TERM');
		wait_until('state.json', sub { $s->state->{presses} == 1 });
		$s->lost;
		my $state = { %{ $s->state }, %$change };
		delete @$state{grep { !defined $state->{$_} && exists $change->{$_} } keys %$state};
		spew($s->dir . '/state.json', JSON::PP::encode_json($state));
		spew("$work/state/boot/vm.lock", slurp("$work/state/boot/vm.lock") =~ s/\Q$boot\E/$record/gr) if $record;
		my $next = $s->successor;
		ok($next->wait_log($expected), $what);
		$next->signal('QUIT');
		$next->ends_with(80, qr/quit/, $what);
	}
};

subtest 'the policy was changed meanwhile' => sub {
	my $s = running(fake => ['ignore=system_powerdown'], name => 'policy', options => ['-o', 'TERM=quit 0, powerdown forever']);
	my @command = @{ $s->{command} };
	$s->fake(set => { ignore => 'system_powerdown,quit' });
	$s->signal('TERM');
	$s->wait_log($press);
	wait_until('state.json', sub { $s->state->{presses} == 1 });
	my $next = $s->taken_over(command => [map { s/^TERM=.*/TERM=powerdown 0, kill/r } @command]);
	$next->ends_with(81, qr/killed \(status 81\); TERM: quit \S+, powerdown \S+, kill/, 'the rung of that action');
	$s = running(fake => ['ignore=system_powerdown'], name => 'policy', options => ['-o', 'USR2=powerdown forever']);
	@command = @{ $s->{command} };
	$s->signal('USR2');
	$s->wait_log($press);
	wait_until('state.json', sub { $s->state->{presses} == 1 });
	$next = $s->taken_over(command => [map { s/^USR2=.*/TERM=quit 9s, kill/r } @command]);
	$next->wait_log(qr/TERM from a supervisor that is gone: quit 9s, kill/);
	$next->ends_with(80, qr/quit \(status 80\)/, 'without such a ladder: that of TERM');
};

subtest 'ten at once' => sub {
	my $s = running(fake => [], name => 'ten');
	my $qemu = $s->qemu;
	$s->lost;
	my @all = map { $s->successor } 1 .. 10;
	wait_until('nine ends', sub { (grep { $_->ended } @all) == 9 });
	my ($one) = grep { !defined $_->{status} } @all;
	is_deeply([map { $_->{status} // () } @all], [(75) x 9], 'nine are refused');
	like($_->log, qr/already has a supervisor/, 'and say why') for grep { defined $_->{status} } @all;
	$one->wait_log(qr/QEMU runs, pid $qemu/);
	$one->signal('TERM');
	$one->ends_with(0, $off, 'ten');
};

# A definition and a command line of one name have the same directories.
subtest 'another VM of that name' => sub {
	my @kinds = (['a definition', agent => 1], ['a command line']);
	for ([@kinds], [reverse @kinds]) {
		my ($one, $other) = @$_;
		my $s = running(fake => [], name => 'clash', @$one[1 .. $#$one]);
		my $files = sub { map { [$_, (stat)[1]] } glob($s->dir . '/{control,qmp,agent,state.json,vm.lock}'), "$work/state/clash/vm.lock" };
		wait_until('ready', sub { $s->state->{ready} });
		$s->lost;
		my @before = $files->();
		my $second = supervise(fake => [], name => 'clash', @$other[1 .. $#$other]);
		is($second->end, 75, "$one->[0] runs without a supervisor: $other->[0] is refused");
		my $how = @$one > 1 ? 'from a definition' : 'by a command line';
		like($second->log, qr{VM clash: another QEMU of that name, pid \d+, was started $how; end that one first}, 'and says why');
		is(slurp($second->{record}), '', 'no QEMU was started');
		is_deeply([$files->()], \@before, 'its files are left alone, and none is added');
		my $next = $s->successor;
		$next->wait_log(qr/taking over QEMU/);
		$next->signal('TERM');
		$next->ends_with(0, $off, 'clash');
	}
};

# vm.lock as somebody else holds it.
sub held_lock {
	my ($name, $text, $length) = @_;
	mkdir("$work/run/$name", 0700);
	sysopen(my $fh, "$work/run/$name/vm.lock", O_RDWR | O_CREAT) or die "vm.lock: $!";
	syswrite($fh, $text);
	my $flock = pack('s s x4 q q l x4', 1, 0, 0, $length // 1, 0);	# the byte of QEMU, or all with 0
	fcntl($fh, 37, $flock) or die "F_OFD_SETLK: $!";
	return $fh;
}

subtest 'a vm.lock that is held by another process than it names' => sub {
	my $boot = slurp('/proc/sys/kernel/random/boot_id');
	my ($start) = slurp("/proc/$$/stat") =~ /.*\)(?: \S+){19} (\d+)/;
	my $other = $$ == 1 ? 2 : 1;
	for ("$$ 1 $boot", "$other $start $boot", 'nonsense', '') {
		my $fh = held_lock('reused', $_);
		my $s = supervise(fake => [], name => 'reused');
		is($s->end, 75, 'refused');
		like($s->log, qr{VM reused: \S+/reused/vm.lock is held, but not by pid \S+ that is named in it}, 'and says why');
		ok(!-e "$work/record", 'no QEMU was started');
		close($fh);
		unlink("$work/run/reused/vm.lock");
	}
};

# 75 would keep it down: init systems try again after 71.
subtest 'a vm.lock that a vmconf holds' => sub {
	my $fh = held_lock('cloned', '', 0);
	my $s = supervise(fake => [], name => 'cloned');
	is($s->end, 71, 'another time');
	like($s->log, qr{VM cloned is being changed: a vmconf holds \S+/cloned/vm.lock}, 'and says why');
	ok(-e $s->dir . '/vm.lock', 'its lock is left alone');
	close($fh);
	my $next = running(fake => [], name => 'cloned');
	$next->signal('TERM');
	$next->ends_with(0, $off, 'cloned');
};

subtest 'left over' => sub {
	my $boot = slurp('/proc/sys/kernel/random/boot_id');
	mkdir("$work/run/$_", 0700) for qw(cut ended);
	spew("$work/run/cut/vm.lock", "$$ 5 00000000-0000-0000-0000-000000000000\n");
	spew("$work/run/ended/vm.lock", "999999 5 $boot");
	spew("$work/run/$_/state.json", '{"ladder": {}}') for qw(cut ended);
	my $s = running(fake => [], name => 'cut');
	like($s->log, qr/nobody saw the last end of this VM: the host went down with it\n/, 'a power cut');
	$s->signal('TERM');
	$s->ends_with(0, $off, 'cut');
	$s = running(fake => [], name => 'ended');
	like($s->log, qr/nobody saw the last end of this VM: QEMU ended while it had no supervisor\n/, 'killed with its supervisor');
	$s->signal('TERM');
	$s->ends_with(0, $off, 'ended');
};

subtest 'a wrapper that does not exec' => sub {
	my $s = running(command => ['sh', '-c', '"$@" & while [ ! -e ' . "$work/go" . ' ]; do sleep 0.02; done', 'sh', fake_qemu()], name => 'wrapper');
	spew("$work/go", '');
	$s->wait_log(qr/has ended without executing QEMU, which goes on as pid (\d+)/);
	my ($qemu) = $s->log =~ /goes on as pid (\d+)/;
	wait_until('vm.lock', sub { $s->qemu == $qemu });
	my $next = $s->taken_over;
	$next->wait_log(qr/QEMU runs, pid $qemu/);
	$next->signal('TERM');
	$next->ends_with(0, $off, 'wrapper');
};

# It ends when its QEMU is to be killed: the kill is for QEMU.
subtest 'a wrapper that does not exec, and the kill' => sub {
	for my $reexec (0, 1) {
		my $what = $reexec ? 'after a reexec' : 'at once';
		my $s = running(command => ['sh', '-c', '"$@"; true', 'sh', fake_qemu('ignore=system_powerdown,quit')], name => 'kill',
			options => ['-o', 'TERM=powerdown forever', '-o', 'USR2=reexec']);
		$s->signal('USR2') if $reexec;
		$s->wait_log(qr/reexec: done/) if $reexec;
		my $wrapper = $s->qemu;
		my ($qemu) = children($wrapper);
		$s->signal('TERM');
		$s->wait_log($press);
		$s->signal('STOP');
		wait_until('stopped', sub { slurp("/proc/$s->{pid}/stat") =~ /\) T / });
		kill('KILL', $wrapper);
		wait_until('the wrapper has ended', sub { slurp("/proc/$wrapper/stat") !~ /\) [RSD] / });
		$s->deadline(0);	# together with the wrapper's end
		$s->signal('CONT');
		$s->ends_with(81, qr/QEMU was killed \(status 81\)/, $what);
		ok(!kill(0, $qemu), "$what: it is gone");
	}
};

subtest 'readiness is reported again, as it was' => sub {
	for (['listening', '0x0020', 0], ['listening', '0x0120', 1]) {
		my ($when, $en, $ready) = @$_;
		my $s = running(fake => ["en=$en"], name => 'ready', options => ['--ready', $when]);
		wait_until('ready', sub { $s->state->{ready} }) if $ready;
		my $pipe = "$work/ready";
		my $setup = sub { open(my $fh, '>', $pipe); fcntl($fh, F_SETFD, 0); POSIX::dup2(fileno($fh), 9) };
		my @command = @{ $s->{command} };
		splice(@command, 1, 0, '--notify-fd', 9);
		my $next = $s->taken_over(command => \@command, setup => $setup);
		$next->wait_log(qr/QEMU runs/);
		is(slurp($pipe), $ready ? "\n" : '', "ready: $ready");
		$next->fake(set => { en => '0x0120' });
		wait_until('ready', sub { slurp($pipe) eq "\n" });
		$next->signal('TERM');
		$next->ends_with(0, $off, 'ready');
	}
};

done_testing;
