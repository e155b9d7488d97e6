#!/usr/bin/perl
# The log in a file of its own, as the adapter none has it: each line has its time, and it is not without a bound.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;

my $time = qr/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}/;
my $state = $ENV{QEMU_SUPERVISE_STATE_DIR};
my $mib = 1 << 20;

sub lines_have_times {
	my ($file, $what) = @_;
	my @without = grep { !/^$time \S/ } split /\n/, slurp($file);
	is_deeply(\@without, [], "$what: each line has its time");
}

# QEMU says something on each of its descriptors at the start.
sub talks {
	my ($name) = @_;
	my $path = "$work/$name.qemu";
	spew($path, "#!/bin/sh\necho 'to stdout'\nprintf 'to stderr\\nno end' >&2\n"
		. "while [ \"\$1\" != -readconfig ]; do shift; done\nexec $top/t/fake-qemu \"\$@\"\n");
	chmod(0755, $path);
	return { emulator => $path };
}

subtest 'lines and times' => sub {
	my $log = "$work/times";
	my $s = supervise(definition => talks('times'), name => 'times', options => ['--log', $log]);
	wait_until('QEMU runs', sub { slurp($log) =~ /QEMU runs/ });
	$s->signal('TERM');
	is($s->end, 0, 'ends');
	lines_have_times($log, 'a VM with a definition');
	my $text = slurp($log);
	like($text, qr/^$time qemu-supervise: times: QEMU runs/m, 'the supervisor');
	like($text, qr/^$time to stderr\n$time no end\n/m, 'QEMU, also where it has not ended its line');
	like($text, qr/^$time to stdout$/m, 'and its standard output');
	like($text, qr/powered itself off \(status 0\); .*\n\z/, 'to the end');
	is($s->log . slurp("$s->{log}.out"), '', 'and nowhere else');
	ok(!-e "$log.old", 'there is one');
	is((stat $log)[2] & 07777, 0600, 'which is ours');
};

subtest 'what is wrong with the rest of the command line is there, too' => sub {
	my $s = supervise(command => ['unused'], options => ['--log', "$work/wrong", '--ready', 'soon']);
	is($s->end, 64, 'ends');
	like(slurp("$work/wrong"), qr/^$time qemu-supervise: --ready: unknown "soon"/, 'it is told');
};

subtest 'it is full' => sub {
	my $log = "$work/full";
	spew($log, 'a' x $mib . "\n");
	my $s = supervise(fake => [], options => ['--log', $log, '-o', "USR2=run:$work/says"],
		setup => sub { open(STDERR, '>>', $log) });
	spew("$work/says", "#!/bin/sh\necho out; echo err >&2\n");
	chmod(0755, "$work/says");
	wait_until('QEMU runs', sub { slurp($log) =~ /QEMU runs/ });
	is(slurp("$log.old"), 'a' x $mib . "\n", 'it is put aside');
	lines_have_times($log, 'the new one');
	$s->signal('USR2');
	wait_until('the program', sub { slurp($log) =~ /^err$/m });
	is(slurp("$log.old"), 'a' x $mib . "\n", 'what programs say goes to the new one');
	open(my $more, '>>', $log) or die "$log: $!";
	print $more 'b' x $mib . "\n";
	close($more);
	$s->signal('USR1');
	wait_until('the next line', sub { slurp($log) =~ /status: running/ });
	like(slurp("$log.old"), qr/^$time .*\nb+\n\z/s, 'of two old ones the older one is gone');
	is(-s $log < 1000, 1, 'and the new one is short');
	unlink($log);
	$s->signal('USR1');
	wait_until('the next line', sub { slurp($log) =~ /status: running/ });
	like(slurp("$log.old"), qr/b\n\z/, 'one that was removed is made again, and the old one stays');
	$s->signal('TERM');
	is($s->end, 0, 'ends');
	like(slurp($log), qr/ended: /, 'to the end');
};

subtest 'a link, a FIFO' => sub {
	symlink("$work/victim", "$work/link");
	system('mkfifo', "$work/fifo");
	for my $file ("$work/link", "$work/fifo", "$work/no/directory") {
		my $s = running(fake => [], options => ['--log', $file]);
		$s->signal('TERM');
		$s->ends_with(0, qr/^qemu-supervise: \S+: ended/, $file);
		like($s->log, qr/^qemu-supervise: --log: cannot write \Q$file\E; the log stays on standard error: /, 'said');
	}
	ok(!-e "$work/victim", 'no link is followed');
};

subtest 'the adapter none' => sub {
	my $definition = talks('web');
	vmconf_does('create', 'web', '--nic', 'none', '--set', "emulator=$definition->{emulator}");
	mkdir "$state/web";
	spew("$state/web/log", 'old' . 'x' x $mib . "\n");
	chmod(0600, "$state/web/log");
	vmconf_does('start', 'web');
	vmconf_does('stop', 'web');
	lines_have_times("$state/web/log", 'log');
	like(vmconf_does('log', 'web'), qr/^oldx+\n$time .*to stderr.*ended: [^\n]*\n\z/s, 'log prints both, the old one first');
	{
		local $ENV{QEMU_SUPERVISE_INIT} = spew("$work/follows", "#!/bin/sh\necho \"\$*\"\n");
		chmod(0755, "$work/follows");
		is(vmconf_does('log', 'web'), "log web\n", 'the adapter is asked');
		is(vmconf_does('log', '--follow', 'web'), "log web --follow\n", 'and told that it goes on');
	}
	vmconf_does('clone', 'web', 'copy');
	ok(!-e "$state/copy/$_", "$_ is not cloned") for 'log', 'log.old';
	vmconf_does('delete', 'web');
	ok(!-e "$state/web", 'delete removes both');
	vmconf_does('delete', 'copy');
};

done_testing;
