#!/usr/bin/perl
# Files of ours in a directory that somebody else can, or could, write to: none of his links, FIFOs and second names is
# followed, waited for, written to or executed.
use strict;
use warnings;
use FindBin;
use JSON::PP ();
use POSIX ();
use lib $FindBin::Bin;
use T;

my $host = "$work/host";	# a file that is none of the VM's
my $state = $ENV{QEMU_SUPERVISE_STATE_DIR};
my %plant = (
	'a FIFO' => sub { POSIX::mkfifo($_[0], 0600) or die "mkfifo: $!" },
	'a link' => sub { symlink($host, $_[0]) or die "symlink: $!" },
	'a second name' => sub { link($host, $_[0]) or die "link: $!" }
);

sub define {
	my ($name, %more) = @_;
	mkdir($state);
	mkdir("$state/$name", 0700);
	T::define($name, { %{ T::fake_definition("$work/fake-$name", fake_qemu()) }, %more });
}

sub host_is_untouched {
	my ($what) = @_;
	is(slurp($host), "precious\n", "$what: the file of the host is as it was");
}

spew($host, "precious\n");

subtest 'the record of the last end' => sub {
	for my $what (sort keys %plant) {
		define('end');
		my $s = supervise(vm => 'end');
		$s->wait_log(qr/QEMU runs/);
		for my $file (map { "$state/end/$_" } qw(history.jsonl history.jsonl.new last-end.json)) {
			unlink($file);
			$plant{$what}->($file);
		}
		$s->signal('TERM');
		$s->ends_with(0, qr/powered itself off/, $what);
		ok(!-l "$state/end/history.jsonl" && -f _, "$what: replaced");
		is(last_end('end')->{status}, 0, "$what: whole");
		is((history('end'))[0]{event}, 'end', "$what: without anything else");
		host_is_untouched($what);
	}
};

# One that root's vmconf reads, in a directory that another user's supervisor writes to.
subtest 'a record that leads elsewhere' => sub {
	define('read');
	spew("$work/elsewhere", '{"event": "end", "status": 82, "words": "read elsewhere"}');
	for my $plant (sub { symlink("$work/elsewhere", $_[0]) }, sub { link("$work/elsewhere", $_[0]) }, $plant{'a FIFO'}) {
		for my $file (qw(history.jsonl last-end.json)) {
			$plant->("$state/read/$file");
			is(state_of('read')->{state}, 'stopped', "$file is not read");
			unlink("$state/read/$file");
		}
	}
};

subtest 'vm.lock' => sub {
	for my $what (sort keys %plant) {
		define('lock');
		$plant{$what}->("$state/lock/vm.lock");
		my $s = supervise(vm => 'lock');
		is($s->end, 71, "$what: not started");
		like($s->log, qr{cannot lock \Q$state\E/lock/vm\.lock: }, "$what: says why");
		host_is_untouched($what);
		vmconf_fails(1, qr/lock cannot be cloned|cannot lock/, 'clone', 'lock', 'other');
		host_is_untouched("clone, $what");
		unlink("$state/lock/vm.lock");
	}
};

# A descriptor of the user's own: its template is the host's.
subtest 'the variables of UEFI firmware' => sub {
	local $ENV{XDG_CONFIG_HOME} = "$work/xdg";
	mkdir($_) for "$work/xdg", "$work/xdg/qemu", "$work/xdg/qemu/firmware";
	spew("$work/$_.fd", 'x') for qw(code variables);
	spew("$work/xdg/qemu/firmware/00-first.json", JSON::PP::encode_json({
		'interface-types' => ['uefi'], features => [], targets => [{ architecture => 'x86_64', machines => ['pc-q35-*'] }],
		mapping => {
			device => 'flash', executable => { filename => "$work/code.fd", format => 'raw' },
			'nvram-template' => { filename => "$work/variables.fd", format => 'raw' }
		}
	}));
	for my $what (sort keys %plant) {
		define('uefi', firmware => 'uefi', machine => 'q35');
		T::define('uefi', { %{ definition('uefi') }, emulator => T::fake_definition("$work/qemu-system-x86_64", fake_qemu())->{emulator} });
		$plant{$what}->("$state/uefi/uefi-vars.fd.new");
		my $s = supervise(vm => 'uefi');
		$s->wait_log(qr/QEMU runs/);
		is(slurp("$state/uefi/uefi-vars.fd"), 'x', "$what: copied");
		host_is_untouched($what);
		$s->signal('TERM');
		$s->ends_with(0, qr/powered itself off/, $what);
		unlink("$state/uefi/uefi-vars.fd");
	}
};

subtest 'directories that others may write to' => sub {
	define('open');
	mkdir("$work/run");
	my %wrong = (
		"$state/open" => [0777, qr{state directory \Q$state\E/open has mode 0777: others than its owner may write to it \(chmod go-w\)}],
		$state => [0775, qr{state directory \Q$state\E has mode 0775}],
		"$work/run" => [0777, qr{runtime directory \Q$work\E/run has mode 0777}]
	);
	for my $dir (sort keys %wrong) {
		my $mode = (stat $dir)[2] & 07777;
		chmod($wrong{$dir}[0], $dir);
		my $s = supervise(vm => 'open');
		is($s->end, 71, "$dir: nothing is started");
		like($s->log, $wrong{$dir}[1], "$dir: says why");
		chmod($mode, $dir);
	}
};

subtest 'a state directory of somebody else' => sub {
	plan skip_all => 'needs root' if $> != 0;
	define('theirs');
	chown(65534, 65534, "$state/theirs");
	my $s = supervise(vm => 'theirs');
	is($s->end, 71, 'nothing is started');
	like($s->log, qr{state directory \Q$state\E/theirs belongs to uid 65534, neither us \(0\) nor root}, 'says why');
	vmconf_fails(1, qr{theirs was not started: \Q$state\E/theirs must be ours}, 'start', 'theirs');
	chown(0, 0, "$state/theirs");

	$s = supervise(vm => 'theirs');
	$s->wait_log(qr/QEMU runs/);
	$s->lost;
	chown(65534, 65534, "$state/theirs");
	$s = $s->successor;
	$s->wait_log(qr/taking over/);
	$s->signal('TERM');
	$s->ends_with(0, qr/powered itself off/, 'but one that runs has its supervisor');
};

subtest 'the log' => sub {
	for my $what (sort keys %plant) {
		define('log');
		$plant{$what}->("$state/log/log");
		vmconf_fails(1, qr{log was not started: \Q$state\E/log/log is a link, or not a file; remove it}, 'start', 'log');
		host_is_untouched($what);
		vmconf_does('log', 'log');
		unlink("$state/log/log");
	}
	define('log');
	vmconf_does('start', 'log');
	like(vmconf_does('log', 'log'), qr/QEMU runs/, 'one of its own');
	vmconf_does('stop', 'log');
};

subtest 'what is executed' => sub {
	plan skip_all => 'needs root' if $> != 0;
	my $others = qr{others than its owner may write to \Q$work\E/open/bin \(chmod go-w\)};
	mkdir($_) for "$work/open", "$work/open/bin";
	chmod(0777, "$work/open/bin");
	spew("$work/open/bin/$_", "#!/bin/sh\necho \$0 >>$work/executed\n") for qw(emulator qemu-img adapter);
	chmod(0755, glob("$work/open/bin/*"));

	define('emulator');
	T::define('emulator', { emulator => "$work/open/bin/emulator" });
	my $s = supervise(vm => 'emulator');
	is($s->end, 126, 'an emulator');
	like($s->log, qr{\Q$work\E/open/bin/emulator is not executed: $others}, 'says why');
	vmconf_fails(78, qr{emulator: \Q$work\E/open/bin/emulator is not executed: $others}, 'check', 'emulator');
	{
		local $ENV{PATH} = "$work/open/bin:$ENV{PATH}";
		vmconf_fails(1, qr{\Q$work\E/open/bin/qemu-img is not executed: $others}, 'create', 'img', '--disk', '1M');
		ok(!-e "$state/img", 'and nothing is left');
	}
	{
		local $ENV{QEMU_SUPERVISE_INIT} = "$work/open/bin/adapter";
		vmconf_fails(126, qr{\Q$work\E/open/bin/adapter is not executed: $others}, 'start', 'emulator');
	}
	ok(!-e "$work/executed", 'nothing of it was executed');
	chmod(0755, "$work/open/bin");
	local $ENV{QEMU_SUPERVISE_INIT} = "$work/open/bin/adapter";
	vmconf_does('log', 'emulator');
	is(slurp("$work/executed"), "$work/open/bin/adapter\n", 'a script knows its path');
};

done_testing;
