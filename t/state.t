#!/usr/bin/perl
# state.json and the other files of the runtime directory, also where there is no room for them.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use POSIX ();
use T;

subtest 'the directory' => sub {
	my $s = running(fake => [], name => 'web');
	wait_until('state.json', sub { $s->state->{'run-state'} eq 'running' });
	is((stat($s->dir))[2] & 07777, 0700, 'its mode');
	is_deeply([sort map { s{.*/}{}r } glob($s->dir . '/*')], [qw(control lock qmp state.json)], 'its files');
	is(slurp($s->dir . '/lock'), "$s->{pid}\n", 'lock names the supervisor');
	my $boot = slurp('/proc/sys/kernel/random/boot_id');
	chomp($boot);
	my $record = sub { my ($start) = slurp("/proc/$_[0]/stat") =~ /.*\)(?: \S+){19} (\d+)/; "$_[0] $start $boot$_[1]" };
	is_deeply([slurp("$work/state/web/vm.lock") =~ /^(.*\S) *$/mg], [$record->($s->qemu, ' command'), $record->($s->{pid}, '')],
		'vm.lock names QEMU and the supervisor, when they started and the boot');
	my $state = $s->state;
	is($state->{name}, 'web', 'state.json: name');
	is($state->{supervisor}, $s->{pid}, 'supervisor');
	is($state->{pid}, $s->qemu, 'pid');
	is($state->{phase}, 'running', 'phase');
	is($state->{'run-state'}, 'running', 'run state');
	is($state->{ladder}, undef, 'no ladder');
	is_deeply($state->{'set-action'}, { reboot => 'reset', shutdown => 'poweroff' }, 'what is set in QEMU');
	$s->fake(state => 'paused', event => 'STOP');
	wait_until('paused', sub { $s->state->{'run-state'} eq 'paused' });
	$s->fake(set => { ignore => 'system_powerdown' });
	$s->signal('TERM');
	wait_until('stopping', sub { $s->state->{phase} eq 'stopping' });
	$state = $s->state;
	is($state->{ladder}{trigger}, 'TERM', 'the ladder: trigger');
	is($state->{ladder}{action}, 'powerdown', 'action');
	is_deeply($state->{'set-action'}, { reboot => 'shutdown', shutdown => 'poweroff' }, 'what the stop has set');
	$s->signal('QUIT');
	$s->ends_with(80, qr/quit/, 'state');
};

subtest 'a directory that is there already' => sub {
	mkdir("$work/run/old", 0755) or die;
	spew("$work/run/old/$_", 'from before') for qw(control qmp lock vm.lock state.json state.json.new);
	my $s = running(fake => [], name => 'old');
	is((stat($s->dir))[2] & 07777, 0700, 'its mode is set');
	is($s->state->{name}, 'old', 'state.json is new');
	$s->signal('TERM');
	$s->ends_with(0, qr/powered itself off/, 'left over');
};

# A logout, a cleaner, rm: what it is reached by is made anew, in a directory that is another one.
sub is_whole {
	my ($s, $what) = @_;
	my @files = grep { !/\.new$/ } map { s{.*/}{}r } glob($s->dir . '/*');	# it may just be written again
	is_deeply([sort @files], [qw(control lock qmp state.json)], "$what: its files");
	wait_until("$what: lock names the supervisor", sub { slurp($s->dir . '/lock') eq "$s->{pid}\n" });	# written once it is taken
	is((stat($s->dir))[2] & 07777, 0700, "$what: its mode");
	is($s->qmp->status, 'running', "$what: its sockets lead to QEMU");
}

subtest 'somebody removes it' => sub {
	my $s = running(fake => [], name => 'gone');
	wait_until('state.json', sub { $s->state->{'run-state'} eq 'running' });
	for my $removed ($s->dir, "$work/run", map { $s->dir . "/$_" } qw(qmp lock state.json)) {
		system('rm', '-r', $removed) == 0 or die;
		$s->signal('USR1');
		wait_until('its files', sub { ($s->state->{'run-state'} // '') eq 'running' && 4 == grep { !/\.new$/ } glob($s->dir . '/*') });
		is_whole($s, $removed);
	}
	like($s->log, qr{/gone, or a file in it, was removed: making it again}, 'and the log tells of it');
	my $second = $s->successor;
	is($second->end, 75, 'it has its supervisor');
	system('rm', '-r', $s->dir);
	$s->signal('USR2');
	$s->wait_log(qr/reexec: done/);
	wait_until('its state.json', sub { ($s->state->{'run-state'} // '') eq 'running' });
	is_whole($s, 'executed again');
	$s->signal('TERM');
	$s->ends_with(0, qr/powered itself off/, 'gone');
};

# Its place is gone, too, as after the last logout: nothing is lost, and it is there when that is.
subtest 'it cannot be made anew' => sub {
	my $s = running(fake => ['ignore=system_powerdown'], name => 'nowhere', options => ['-o', 'TERM=powerdown forever']);
	wait_until('state.json', sub { $s->state->{'run-state'} eq 'running' });
	rename("$work/run", "$work/away") or die;
	spew("$work/run", 'no directory');
	$s->signal('TERM');
	$s->wait_log(qr{cannot write .*/nowhere/state.json; the VM goes on: Not a directory});
	$s->wait_sent('system_powerdown');
	unlink("$work/run");
	wait_until('state.json', sub { ($s->state->{ladder}{action} // '') eq 'powerdown' });
	is($s->state->{phase}, 'stopping', 'without another signal');
	is(scalar(() = $s->log =~ /cannot write/g), 1, 'told once');
	like($s->log, qr{/nowhere/state.json is written again}, 'and that it is over');
	is($s->qmp->status, 'running', 'its sockets lead to QEMU');
	$s->signal('QUIT');
	$s->ends_with(80, qr/quit/, 'nowhere');
};

# Nothing happens to an idle one that would have it written again.
subtest 'idle, and written again' => sub {
	my $s = running(fake => [], name => 'idle', options => ['-o', 'HUP=stop']);
	wait_until('state.json', sub { $s->state->{'run-state'} eq 'running' });
	rename("$work/run", "$work/run.idle") or die;
	spew("$work/run", 'no directory');
	$s->signal('HUP');
	$s->wait_log(qr{cannot write .*/idle/state.json; the VM goes on});
	$s->signal('USR1');
	$s->wait_log(qr/status: paused/);
	unlink("$work/run");
	wait_until('state.json', sub { $s->state->{phase} });
	is($s->state->{'run-state'}, 'paused', 'by itself');
	$s->signal('TERM');
	$s->ends_with(0, qr/powered itself off/, 'idle');
};

# The next supervisor has nothing else to go by, and QEMU may not answer any more.
subtest 'whether QEMU answers or not' => sub {
	my $s = running(fake => [], name => 'events', options => ['-o', 'TERM=quit 100s, kill', '-o', 'ALRM=nmi']);
	wait_until('state.json', sub { $s->state->{'run-state'} eq 'running' });
	$s->fake(set => { mute => 'query-status' });
	$s->fake(event => 'BLOCK_IO_ERROR', data => { action => 'stop', device => 'disk0' });
	wait_until('why', sub { $s->state->{why} eq 'disk0: I/O error' });
	$s->fake(event => 'GUEST_PANICKED');
	wait_until('a panic', sub { $s->state->{outcome}{panicked} });
	pass('an event');
	$s->fake(set => { close => 'quit' });	# our connection on the public socket keeps it from there
	$s->signal('TERM');
	wait_until('quit is to be sent again', sub { ($s->state->{ladder} // {})->{undone} });
	pass('a command that was lost with the connection');
	$s->fake(set => { mute => '' });
	$s->ends_with(82, qr/the guest panicked/, 'events');
};

# A file system of a few kB, seen by the supervisor and what it starts.
my $small = "$work/full";
my @in_small = ('unshare', '-m', 'sh', '-c', "mount -t tmpfs -o size=32k tmpfs $small && exec \"\$@\"", 'sh');
mkdir($small);
my $may_mount = $> == 0 && (run_command(@in_small, 'true'))[0] == 0;

sub in_small {
	my (%o) = @_;
	my $s = supervise(prefix => \@in_small, env => { QEMU_SUPERVISE_RUNTIME_DIR => $small }, %o);
	$s->wait_log(qr/QEMU runs/);
	$s->{inside} = "/proc/$s->{pid}/root$small";
	$s->{in_small} = sub { my $text = slurp("$s->{inside}/$s->{name}/state.json"); $text ? JSON::PP::decode_json($text) : {} };
	wait_until('state.json', sub { ($s->{in_small}->()->{phase} // '') eq 'running' });
	return $s;
}

sub fill {
	my ($s) = @_;
	open(my $fill, '>', "$s->{inside}/fill") or die $!;
	1 while syswrite($fill, 'x' x 512);
	return $fill;
}

subtest 'no room' => sub {
	plan skip_all => 'may not mount here' if !$may_mount;
	my $s = in_small(fake => ['ignore=system_powerdown'], name => 'full', options => ['-o', 'TERM=powerdown forever', '-o', 'USR2=stop']);
	my $fill = fill($s);
	for my $run_state (('paused', 'running') x 3) {
		$run_state eq 'paused' ? $s->signal('USR2') : qmp_connect("$s->{inside}/full/qmp")->command('cont');
		wait_until("$run_state in state.json", sub { $s->{in_small}->()->{'run-state'} eq $run_state });
		1 while syswrite($fill, 'x');	# what was given back, if anything
	}
	$s->signal('TERM');
	wait_until('stopping in state.json', sub { $s->{in_small}->()->{phase} eq 'stopping' });
	is($s->{in_small}->()->{ladder}{action}, 'powerdown', 'its ladder, too');
	unlike($s->log, qr/cannot write/, 'nothing failed');
	# Killed there, in its mount namespace, and followed by another one in the same.
	my $qemu = $s->{in_small}->()->{pid};
	my ($enter, @command) = ("/proc/$qemu/ns/mnt", @{ $s->{command} });
	splice(@command, 0, scalar @in_small);
	my $next = $s->lost->successor(command => ['nsenter', "--mount=$enter", @command], env => { QEMU_SUPERVISE_RUNTIME_DIR => $small });
	$next->wait_log(qr/taking over QEMU, pid $qemu.*TERM: resuming at powerdown/s);
	ok(1, 'the next one knows what was asked');
	$next->signal('QUIT');
	is($next->end, 80, 'and ends it') or diag($next->log);
};

subtest 'no room for the first one' => sub {
	plan skip_all => 'may not mount here' if !$may_mount;
	my @tiny = @in_small;
	s/size=32k/size=4k/ for @tiny;
	my $s = supervise(fake => [], name => 'tiny', prefix => \@tiny, env => { QEMU_SUPERVISE_RUNTIME_DIR => $small });
	is($s->end, 71, 'refused');
	like($s->log, qr{cannot reserve room for $small/tiny/state.json: No space left on device}, 'and says why');
	is(slurp($s->{record}), '', 'no QEMU was started');
};

done_testing;
