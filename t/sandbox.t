#!/usr/bin/perl
# The sandbox: what a definition says of programs is allowed, and whatever else a guest or a client may ask for does not
# cost the VM its life.
use strict;
use warnings;
use FindBin;
use JSON::PP ();
use lib $FindBin::Bin;
use T;

need('qemu-system-x86_64');
my $started = "$work/started";
my @machine = (accel => 'tcg', memory => '128M', display => 'none');

sub script {
	my ($name, $text) = @_;
	my $path = spew("$work/$name", "#!/bin/sh\n$text");
	chmod(0755, $path);
	return $path;
}

# QEMU's answer to the word -sandbox, as its process has it.
sub sandbox_of {
	my ($s) = @_;
	my @words = split(/\0/, slurp('/proc/' . $s->qemu . '/cmdline'));
	my ($at) = grep { $words[$_] eq '-sandbox' } 0 .. $#words;
	return $words[$at + 1];
}

sub start {
	my ($name, %definition) = @_;
	T::define($name, {@machine, %definition});
	my $s = supervise(vm => $name);
	$s->wait_log(qr/QEMU runs/);
	return $s;
}

# Whether a migration to a program has failed, and QEMU lives.
sub refuses_programs {
	my ($s, $what) = @_;
	my $done = eval { $s->qmp->command(migrate => { uri => "exec:cat >$work/$what" }); 1 };
	like($@, qr/Operation not permitted|Failed to fork/, "$what: an error") if !$done;
	is(wait_until('the end of the migration', sub { $s->qmp->command('query-migrate')->{status} }), 'failed', "$what: failed") if $done;
	ok(!-e "$work/$what", "$what: the program did not run");
	is($s->qmp->status, 'running', "$what: QEMU lives");
}

subtest 'a program that a client asks for' => sub {
	my $disk = make_disk();
	T::define('web', T::guest_definition('normal', disk => $disk, console => "$work/console"));
	my $s = supervise(vm => 'web');
	wait_until('the guest', sub { slurp("$work/console") =~ /guest: listening/ });
	refuses_programs($s, 'client');
	like(slurp('/proc/' . $s->qemu . '/status'), qr/^Seccomp_filters:\s+2$/m, 'two filters: ours and that of -sandbox');
	$s->signal('TERM');
	$s->ends_with(0, qr/powered itself off/, 'client');
	ok(disk_is_clean($disk), 'clean');
};

# iPXE, the boot firmware of the nic, is the guest that connects.
subtest 'a program that a guest asks for' => sub {
	plan skip_all => 'no iPXE for virtio (package ipxe-qemu)' if !grep { -e "$_/efi-virtio.rom" } '/usr/lib/ipxe/qemu', '/usr/share/qemu';
	my $answer = script('answer', "echo >>$started\nprintf 'HTTP/1.0 404 no\\r\\n\\r\\n'\n");
	my $s = start('fwd', confine => { execute => [$answer], write => [$work] }, nics => [{ type => 'user', bootfile => 'http://10.0.2.100/x', guestfwd => [{ str => "tcp:10.0.2.100:80-cmd:$answer" }] }]);
	like(sandbox_of($s), qr/spawn=allow/, 'the definition says so');
	wait_until('the program', sub { -s $started });
	is($s->qmp->status, 'running', 'it runs, and QEMU goes on');
	$s->signal('QUIT');
	$s->ends_with(80, qr/quit/, 'guestfwd');
};

subtest 'a program that QEMU starts by itself' => sub {
	my $s = start('in', confine => { write => [$work] }, args => ['-incoming', "exec:echo \$\$ >$work/incoming; exec tail -f --pid=\$PPID /dev/null"]);
	my $pid = wait_until('the program', sub { slurp("$work/incoming") =~ /(\d+)\n/ && $1 });
	$s->signal('QUIT');
	$s->ends_with(0, qr/no guest was running/, 'incoming');
	wait_until('its end', sub { !grep { $_ == $pid } children($$) });
};

subtest 'an emulator that starts QEMU' => sub {
	my $qemu = script('emulator', qq{true & wait\nexec qemu-system-x86_64 "\$@"\n});
	my $s = start('wrapped', emulator => $qemu);
	like(sandbox_of($s), qr/spawn=deny/, 'may start programs: the sandbox is QEMU\'s alone');
	$s->signal('QUIT');
	$s->ends_with(80, qr/quit/, 'wrapped');
};

subtest 'said as it is' => sub {
	T::define('sys', T::fake_definition("$work/fake-sys", fake_qemu()));
	my $s = supervise(vm => 'sys');
	$s->wait_log(qr/QEMU runs/);
	$s->fake(die => 'SYS');
	$s->ends_with(83, qr/the sandbox refused what QEMU was to do, and QEMU died of SIGSYS \("sandbox" in vmconf\(5\)/, 'SIGSYS');
};

done_testing;
