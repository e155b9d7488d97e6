#!/usr/bin/perl
# Which UEFI firmware a VM gets, and that it stays with it.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use JSON::PP;
use T;

need('strace');

my $descriptors = "$work/xdg/qemu/firmware";
my $config = $ENV{QEMU_SUPERVISE_CONFIG_DIR};
my $state = $ENV{QEMU_SUPERVISE_STATE_DIR};
my $program = $ENV{T_SUPERVISE} || "$top/qemu-supervise";
system('mkdir', '-p', $descriptors, $config, $state);
local $ENV{XDG_CONFIG_HOME} = "$work/xdg";

# A file of so many bytes.
sub image {
	my ($name, $size) = @_;
	spew("$work/$name", substr("$name\n" x $size, 0, $size));
	return { filename => "$work/$name", format => 'raw' };
}

sub flash {
	my ($name, $size) = @_;
	return { device => 'flash', executable => image("$name.code", 64), 'nvram-template' => image("$name.vars", $size) };
}

# The features are those of ovmf 2026.08's descriptors.
sub descriptor {
	my ($name, $mapping, @features) = @_;
	return spew("$descriptors/$name.json", encode_json({
		'interface-types' => ['uefi'], mapping => $mapping, features => \@features, tags => [],
		targets => [{ architecture => 'x86_64', machines => ['pc-i440fx-*', 'pc-q35-*'] }]
	}));
}

# The definition of a VM whose emulator is the fake.
sub define {
	my ($name, %keys) = @_;
	my $definition = T::fake_definition("$work/qemu-system-x86_64", fake_qemu());
	spew("$config/$name.json", encode_json({ %$definition, agent => JSON::PP::false, firmware => 'uefi', %keys }));
}

sub printed {
	my ($name) = @_;
	my ($status, $out, $err) = run_command($program, '--print', $name);
	is($status, 0, "$name is printed") or diag($err);
	return $out;
}

sub uses {
	my ($name, $firmware, $what) = @_;
	like(printed($name), qr{-blockdev [^\n]*"filename":"\Q$work/$firmware\E\.code"[^\n]*"filename":"\Q$state/$name\E/uefi-vars\.fd"[^\n]*pflash0=firmware,pflash1=firmware-variables}, $what);
}

# Refused with 78, by the supervisor and by check.
sub refused {
	my ($name, $why) = @_;
	my ($status, undef, $err) = run_command($program, $name);
	is($status, 78, "$name: status 78") or diag($err);
	like($err, $why, "$name: says why");
	vmconf_fails(78, $why, 'check', $name);
}

sub starts {
	my ($name) = @_;
	my $s = supervise(vm => $name);
	$s->wait_log(qr/QEMU runs/);
	$s->signal('QUIT');
	is($s->end, 80, "$name has run") or diag($s->log);
}

my $record = "$state/web/uefi-vars.json";
my $sev = descriptor('60-edk2-x86_64-amdsev', { device => 'memory', filename => image('sev.code', 64)->{filename} }, qw(amd-sev amd-sev-es amd-sev-snp));
descriptor('60-edk2-x86_64-inteltdx', { device => 'memory', filename => image('tdx.code', 64)->{filename} }, qw(enrolled-keys intel-tdx secure-boot));
# Hides what the host has under that name.
my $plain = descriptor('60-edk2-x86_64', flash('plain', 100), qw(acpi-s3 amd-sev verbose-dynamic));

subtest 'the first choice' => sub {
	define('web');
	uses('web', 'plain', 'firmware for confidential computing, without variables, is passed over');
	my $broken = spew("$descriptors/05-broken.json", "{\n\"mapping\": oops }\n");
	like((run_command($program, '--print', 'web'))[2], qr/firmware descriptor \Q$broken\E: line 2: [^\n]+; it is left out$/m, 'one that is not JSON is told of');
	uses('web', 'plain', 'and passed over');
	unlink($broken);
	my $combined = descriptor('05-combined', { %{ flash('combined', 100) }, mode => 'combined' });
	uses('web', 'plain', 'so is one that has code and variables in one file');
	unlink($combined);
	descriptor('10-snp', flash('snp', 100), qw(amd-sev-snp));
	uses('web', 'plain', 'also one that has them');
	descriptor('20-bare', { device => 'flash', mode => 'stateless', executable => image('bare.code', 64) });
	descriptor('30-smm', flash('smm', 100), 'requires-smm');
	uses('web', 'plain', 'as what keeps no variables or needs SMM');
	unlink map { "$descriptors/$_.json" } qw(10-snp 20-bare 30-smm);
};

subtest 'asked for' => sub {
	define('asked', firmware => $sev);
	like(printed('asked'), qr{-bios \Q$work\E/sev\.code }, 'a descriptor by its path');
	starts('asked');
	is_deeply([glob "$state/asked/uefi*"], [], 'which keeps no variables');
	define('asked', firmware => descriptor('20-bare', { device => 'flash', mode => 'stateless', executable => image('bare.code', 64) }));
	like(printed('asked'), qr{"filename":"\Q$work\E/bare\.code".*-machine q35,pflash0=firmware }, 'in flash memory without variables');
	define('asked', firmware => descriptor('30-smm', flash('smm', 100), 'requires-smm'));
	uses('asked', 'smm', 'what needs SMM');
	define('asked', firmware => $sev, machine => 'microvm');
	refused('asked', qr{firmware: \Q$sev\E does not describe UEFI firmware for the machine microvm of x86_64, or one of its files does not exist$}m);
	is_deeply([vmconf('command', 'asked')], [78, '', "vmconf: asked: $sev does not describe UEFI firmware for the machine microvm "
		. "of x86_64, or one of its files does not exist\n"], 'nor is there a command line');
	unlink map { "$descriptors/$_.json" } qw(20-bare 30-smm);
};

subtest 'nothing but what must be asked for' => sub {
	rename($plain, "$plain.off");
	spew($plain, '');
	refused('web', qr{firmware: no UEFI firmware .*is used only where "firmware" names it: .*\Q$sev\E});
	rename("$plain.off", $plain);
};

subtest 'it stays with it' => sub {
	starts('web');
	is(slurp("$state/web/uefi-vars.fd"), slurp("$work/plain.vars"), 'its variables are made');
	is_deeply(decode_json(slurp($record)), { version => 1, code => "$work/plain.code", variables => "$work/plain.vars", format => 'raw' },
		'and it is written down what they were made with');
	descriptor('10-other', flash('other', 100));
	uses('web', 'plain', 'other firmware that comes first is for other VMs');
	define('new');
	uses('new', 'other', 'such as a new one');
	vmconf_does('clone', 'web', 'copy');
	uses('copy', 'plain', 'a clone has the variables, and their firmware');
	starts('web');
	vmconf_does('rename', 'web', 'w3');
	uses('w3', 'plain', 'by another name, too');
	vmconf_does('rename', 'w3', 'web');
};

subtest 'when it is gone' => sub {
	rename($plain, "$plain.off");
	spew($plain, '');
	my $vars = "$state/web/uefi-vars.fd";
	refused('web', qr{web\.json: firmware: \Q$vars\E belongs to firmware that is not installed: it was made with \Q$work\E/plain\.code and \Q$work\E/plain\.vars; install that again, .*remove \Q$vars\E: the guest's boot entries are lost then$}m);
	is(slurp($vars), slurp("$work/plain.vars"), 'its variables are left alone');
	define('web', firmware => "$descriptors/10-other.json");
	uses('web', 'other', 'another one may be named');
	starts('web');
	define('web');
	uses('web', 'other', 'and counts from then on');
	is(slurp($vars), slurp("$work/plain.vars"), 'with the same variables');
	define('copy', firmware => descriptor('20-big', flash('big', 200)));
	refused('copy', qr{uefi-vars\.fd does not belong to \Q$work\E/big\.code: its size is not that of \Q$work\E/big\.vars; remove it});
	define('copy');
	unlink "$state/copy/uefi-vars.fd";
	uses('copy', 'other', 'without variables there is nothing to lose');
	starts('copy');
	is(slurp("$state/copy/uefi-vars.fd"), slurp("$work/other.vars"), 'new ones are made');
	rename("$plain.off", $plain);
	unlink map { "$descriptors/$_.json" } qw(10-other 20-big);
};

subtest 'variables that 0.1.0 has made' => sub {
	descriptor('10-big', flash('big', 200));
	mkdir "$state/old";
	spew("$state/old/uefi-vars.fd", 'x' x 100);
	define('old');
	uses('old', 'plain', 'firmware whose variables have another size is passed over');
	starts('old');
	is(slurp("$state/old/uefi-vars.fd"), 'x' x 100, 'they are kept');
	is(decode_json(slurp("$state/old/uefi-vars.json"))->{code}, "$work/plain.code", 'and from then on it is known');
	mkdir "$state/odd";
	spew("$state/odd/uefi-vars.fd", 'x' x 50);
	define('odd');
	refused('odd', qr{uefi-vars\.fd belongs to firmware that is not installed: none .* has variables of that size; install the one that it was made with, or remove it});
	unlink "$descriptors/10-big.json";
};

subtest 'a record that cannot be read' => sub {
	define('unread');
	starts('unread');
	descriptor('10-other', flash('other', 100));
	my $path = "$state/unread/uefi-vars.json";
	local $ENV{ASAN_OPTIONS} = join(':', $ENV{ASAN_OPTIONS} || (), 'detect_leaks=0');	# it cannot look for them while it is traced
	my @strace = ('strace', '-qq', '-o', "$work/trace", '-P', $path, '-e', 'trace=openat,open', '-e', 'inject=openat,open:error=EIO');
	my $why = qr{firmware: cannot read \Q$path\E, which says what firmware the guest's variables belong to: Input/output error};
	for my $command ([$program, '--print', 'unread'], [$ENV{T_VMCONF} || "$top/vmconf", 'check', 'unread']) {
		my ($status, $out, $err) = run_command(@strace, @$command);
		is($status, 78, 'is not taken for none') or diag($out, $err);
		like($err, $why, 'and why');
	}
	uses('unread', 'plain', 'later it is read');
	unlink "$descriptors/10-other.json";
};

# Who may write there is perhaps a guest that has broken out.
subtest 'the record is believed only where a descriptor says the same' => sub {
	define('evil');
	starts('evil');
	my $evil = "$state/evil/uefi-vars.json";
	spew("$work/secret", 'secret');
	spew($evil, encode_json({ version => 1, code => "$work/secret", variables => "$work/plain.vars", format => 'raw' }));
	refused('evil', qr/belongs to firmware that is not installed/);
	for my $text ('{', '[]', '{"code": 5}', '{"code": "a", "variables": "b", "format": "../../x"}', '{"code": "a", "variables": "b"}') {
		spew($evil, $text);
		uses('evil', 'plain', "$text is as none");
	}
	unlink $evil;
	T::make_fifo($evil);
	uses('evil', 'plain', 'a FIFO, too');
	unlink $evil;
	symlink("$work/secret", $evil);
	uses('evil', 'plain', 'and a link');
	symlink("$work/secret", "$evil.new");
	starts('evil');
	is(slurp("$work/secret"), 'secret', 'which is not followed');
	ok(!-l $evil, 'but replaced');
};

subtest 'deleted with the VM' => sub {
	spew("$state/web/uefi-vars.json.new", '');
	vmconf_does('delete', 'web');
	ok(!-e "$state/web", 'nothing is left');
};

done_testing;
