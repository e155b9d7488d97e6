#!/usr/bin/perl
# What cloud-init is told: the keys that vmconf create finds, and the volume that a start makes. t/cloud.t has a guest that reads it.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use JSON::PP ();
use MIME::Base64;
use T;

need('qemu-system-x86_64', 'qemu-img', 'ssh-keygen', 'unshare');

my ($config, $state) = @ENV{qw(QEMU_SUPERVISE_CONFIG_DIR QEMU_SUPERVISE_STATE_DIR)};
my $home = $ENV{HOME} = "$work/home";
delete @ENV{qw(SSH_AUTH_SOCK SUDO_USER)};
mkdir $_ for $home, "$state", "$state/images";
run_command('qemu-img', 'create', '-q', '-f', 'qcow2', "$state/images/base.qcow2", '16M');

sub make_key {
	my ($file, $comment) = @_;
	is((run_command('ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-C', $comment, '-f', $file))[0], 0, "a key $comment");
	chomp(my $key = slurp("$file.pub"));
	return $key;
}

sub keys_of {
	my ($name) = @_;
	return definition($name)->{'cloud-init'}{'ssh-keys'};
}

# The files in the root directory of a FAT12 volume, by their long names: read as a guest would.
sub files_of {
	my ($path) = @_;
	my $image = slurp($path);
	my ($bytes, $sectors, $reserved, $fats, $entries, $fat_sectors) = (unpack('x11 v C v C v x3 v', $image));
	my $fat = substr($image, $reserved * $bytes);
	my $root = ($reserved + $fats * $fat_sectors) * $bytes;
	my $data = $root + 32 * $entries;
	my (%files, $name);
	for my $i (0 .. $entries - 1) {
		my $entry = substr($image, $root + 32 * $i, 32);
		my $attributes = ord(substr($entry, 11, 1));
		last if substr($entry, 0, 1) eq "\0";
		if ($attributes == 0x08) {
			$files{LABEL} = substr($entry, 0, 11) =~ s/ +$//r;
			next;
		}
		if ($attributes == 0x0f) {
			my $piece = join '', map { chr } grep { $_ && $_ != 0xffff } unpack('x v5 x3 v6 x2 v2', $entry);
			$name = ord($entry) & 0x40 ? $piece : "$piece$name";
			next;
		}
		my ($cluster, $len) = unpack('x26 v V', $entry);
		my $text = '';
		while ($len && $cluster < 0xff8) {
			$text .= substr($image, $data + ($cluster - 2) * $sectors * $bytes, $sectors * $bytes);
			my $two = unpack('v', substr($fat, int($cluster * 3 / 2), 2));
			$cluster = $cluster % 2 ? $two >> 4 : $two & 0xfff;
		}
		$files{$name} = substr($text, 0, $len);
	}
	return \%files;
}

# Starts it, and reads what the guest would.
sub volume_of {
	my ($name) = @_;
	vmconf_does('start', $name);
	my $files = files_of("$state/$name/cloud-init.img");
	vmconf_does('stop', '--kill', $name);
	$files->{'meta-data'} = JSON::PP::decode_json($files->{'meta-data'} || '{}');
	return $files;
}

# ---- whose keys ----

my ($status, $out, $err) = vmconf('create', 'nokey', '--image', 'base');
is($status, 0, 'without any key it is made');
like($err, qr/^vmconf: no public key of yours was found, .*--ssh-key none/m, 'and told');
is_deeply(definition('nokey')->{'cloud-init'}, {}, 'its host name is its own');
($status, $out, $err) = vmconf('create', 'none', '--image', 'base', '--ssh-key', 'none');
is("$status$err", "0vmconf: none is created; next: vmconf start none\n", 'on purpose: nothing is told');
is_deeply(definition('none')->{'cloud-init'}, {}, 'and the host name is there');

mkdir "$home/.ssh";
my $mine = make_key("$home/.ssh/id_ed25519", 'me@here');
my $other = make_key("$work/other", 'other one');
spew("$home/.ssh/junk.pub", "no key\n");
symlink('/dev/zero', "$home/.ssh/zero.pub");
vmconf_does('create', 'mine', '--image', 'base');
is_deeply(keys_of('mine'), [$mine], 'those of ~/.ssh/*.pub');
is(definition('mine')->{'cloud-init'}{user}, 'cloud-user', 'they are for a user whose name vmconf ssh knows');
symlink('base.qcow2', "$state/images/$_.qcow2") for 'Debian-12', 'noble-server';
for (['Debian-12', 'debian'], ["$state/images/noble-server.qcow2", 'ubuntu']) {
	vmconf_does('create', "of-$_->[1]", '--image', $_->[0]);
	is(definition("of-$_->[1]")->{'cloud-init'}{user}, $_->[1], "$_->[0]: $_->[1], as in the image");
}
vmconf_does('create', 'given', '--image', 'base', '--ssh-key', "$work/other.pub");
is_deeply(keys_of('given'), [$other], '--ssh-key');
spew("$work/both", "# two\n$mine\r\n\n$other\n$mine again\n");
vmconf_does('create', 'both', '--image', 'base', '--ssh-key', "$work/both", '--ssh-key', "$work/other.pub");
is_deeply(keys_of('both'), [$mine, $other], 'a file with two of them, each once');
vmconf_does('create', 'empty', '--disk', '1M');
ok(!definition('empty')->{'cloud-init'}, 'not for an empty disk');
vmconf_does('create', 'without', '--image', 'base', '--set', 'cloud-init=');
ok(!definition('without')->{'cloud-init'}, 'nor if that is said');
spew("$work/vendor", "#cloud-config\nuser: them\n");
vmconf_does('create', 'vendor', '--image', 'base', '--set', "cloud-init.vendor-data=$work/vendor");
is(definition('vendor')->{'cloud-init'}{user}, undef, 'vendor-data that is given says who the user is');
vmconf_fails(64, qr/cloud-init\.user: found beside "vendor-data"/, 'create', 'bad', '--image', 'base', '--user', 'me', '--set', "cloud-init.vendor-data=$work/vendor");
ok(definition('empty')->{agent}, 'the channel of the agent is there');
vmconf_does('create', 'asked', quick('--user', 'me', '--hostname', 'web.example.org'));
is_deeply(definition('asked')->{'cloud-init'}, { user => 'me', hostname => 'web.example.org', 'ssh-keys' => [$mine] }, 'but where it is asked for');

subtest 'ssh-agent' => sub {
	need('ssh-agent', 'ssh-add');
	my $agent = make_key("$work/agent", 'in the agent');
	my ($socket, $pid) = (run_command('ssh-agent', '-s'))[1] =~ /SSH_AUTH_SOCK=([^;]+);.*SSH_AGENT_PID=(\d+)/s;
	local $ENV{SSH_AUTH_SOCK} = $socket;
	run_command('ssh-add', '-q', "$work/agent");
	vmconf_does('create', 'agent', '--image', 'base');
	is_deeply(keys_of('agent'), [$agent, $mine], 'those of the agent, too');
	kill 'TERM', $pid;
	local $ENV{SSH_AUTH_SOCK} = "$work/nothing";
	vmconf_does('create', 'agentless', '--image', 'base');
	is_deeply(keys_of('agentless'), [$mine], 'an agent that is gone');
};

{
	local $ENV{HOME};
	delete $ENV{HOME};
	like((vmconf('create', 'homeless', '--image', 'base'))[2],
		qr/^vmconf: no public key of yours was found/m, 'without a home there are none');
	is(keys_of('homeless'), undef, 'and it goes without');
}

SKIP: {
	skip('not root', 4) if $> != 0;
	my ($user, $dir) = (getpwnam('nobody'))[0, 7];
	local $ENV{SUDO_USER} = $user;
	vmconf('create', 'sudo', '--image', 'base');
	is_deeply(keys_of('sudo'), undef, 'under sudo they are those of the calling user, not of root');

	# A user with a key, whom only this command knows.
	mkdir $_ for "$work/caller", "$work/caller/.ssh";
	my $key = make_key("$work/caller/.ssh/id_ed25519", 'the caller');
	spew("$work/passwd", slurp('/etc/passwd') =~ s/^$user:.*\n//mr . "$user:x:65534:65534:$user:$work/caller:/bin/sh\n");
	my ($status, undef, $err) = run_command('unshare', '-m', 'sh', '-ec', 'mount --bind "$1" /etc/passwd; shift; exec "$@"', 'sh',
		"$work/passwd", $ENV{T_VMCONF} || "$top/vmconf", 'create', 'sudo2', '--image', 'base');
	is($status, 0, 'a caller with a key') or diag($err);
	is_deeply(keys_of('sudo2'), [$key], 'whose ~/.ssh/*.pub it is');
}

# ---- what is refused ----

my $before = join ' ', sort glob("$config/* $state/*");
spew("$work/big", "#cloud-config\n" . '#' x (1 << 20));
spew("$work/plain", "packages: [vim]\n");
vmconf_fails(64, qr/^vmconf: --ssh-key \S+id_ed25519: this is a private key, .* the same name with \.pub$/m, 'create', 'bad', '--ssh-key', "$home/.ssh/id_ed25519");
vmconf_fails(64, qr/^vmconf: --ssh-key \S+plain: this is not a public key of ssh/m, 'create', 'bad', '--ssh-key', "$work/plain");
vmconf_fails(64, qr/^vmconf: --ssh-key \S+nosuch: cannot read it: No such file/m, 'create', 'bad', '--ssh-key', "$work/nosuch");
vmconf_fails(64, qr/^vmconf: --ssh-key \S+nokey: there is no public key in it$/m,
	'create', 'bad', '--ssh-key', spew("$work/nokey", "\n# none\n"));
vmconf_fails(64, qr/^vmconf: --ssh-key \S+null: cannot read it/m, 'create', 'bad', '--ssh-key', '/dev/null');
vmconf_fails(64, qr/^vmconf: --user-data \S+plain: it begins with "packages: \[vim\]", expected the line #cloud-config/m, 'create', 'bad', '--user-data', "$work/plain");
vmconf_fails(64, qr/^vmconf: --user-data \S+id_ed25519: it begins with a private key/m, 'create', 'bad', '--user-data', "$home/.ssh/id_ed25519");
my %no_yaml = (
	"#!/bin/sh\necho\n" => qr/has no "KEY: VALUE" in line 3, as #cloud-config needs it/, "\n- a: b\n" => qr/has no "KEY: VALUE" in line 3/, "echo http:\/\/x\n" => qr/has no "KEY: VALUE" in line 2/,
	"a:\n\tb: c\n" => qr/begins line 3 with a tab/,
);
for my $text (sort keys %no_yaml) {
	spew("$work/no-yaml", "#cloud-config\n$text");
	vmconf_fails(64, qr/^vmconf: --user-data \S+no-yaml: it $no_yaml{$text}/m, 'create', 'bad', '--user-data', "$work/no-yaml");
}
vmconf_fails(64, qr/^vmconf: --user-data \S+big: it has more than 1 MiB$/m, 'create', 'bad', '--user-data', "$work/big");
vmconf_fails(64, qr/^vmconf: --user-data \S+nosuch: cannot read it: No such file/m, 'create', 'bad', '--user-data', "$work/nosuch");
vmconf_fails(64, qr/^vmconf: --user-data \S+: it is not a file$/m, 'create', 'bad', '--user-data', $work);
vmconf_fails(64, qr/^vmconf: --user \Q$_\E: cloud-init\.user: found "\Q$_\E", expected the name/m, 'create', 'bad', '--user', $_) for 'Me', 'a b', '1a', 'x' x 33, '';
vmconf_fails(64, qr/^vmconf: --hostname \Q$_\E: cloud-init\.hostname: found "\Q$_\E", expected a host/m, 'create', 'bad', '--hostname', $_) for 'a_b', '-a', 'a.', '';
is(join(' ', sort glob("$config/* $state/*")), $before, 'and nothing is left');

# ---- the volume ----

my $data = "#cloud-config\n  # a comment\n\n---\n# " . 'x' x 20000 . "\nruncmd: [[touch, /run/was-here]]\n";
spew("$work/data", $data);
umask 0;
vmconf_does('create', 'web_1', '--image', 'base', quick('--user-data', "$work/data", '--user', 'me'));
is(slurp("$state/web_1/user-data"), $data, 'user-data is copied');
is((stat "$state/web_1/user-data")[2] & 07777, 0600, 'for nobody else');
is(vmconf_does('check', 'web_1'), '', 'check says nothing');
my $volume = volume_of('web_1');
is($volume->{LABEL}, 'cidata', 'its label');
is_deeply($volume->{'meta-data'}, { 'instance-id' => definition('web_1')->{uuid}, 'local-hostname' => 'web-1', 'public-keys' => [$mine] }, 'meta-data');
is($volume->{'user-data'}, $data, 'user-data, of many clusters');
is($volume->{'vendor-data'}, "#cloud-config\nuser: me\n", 'the user');
ok(!exists $volume->{'network-config'}, 'no network-config');
is((stat "$state/web_1/cloud-init.img")[2] & 07777, 0600, 'the volume is nobody else\'s');

vmconf_does('create', 'theirs', '--image', 'base', quick('--set', "cloud-init.vendor-data=$work/vendor"));
is(volume_of('theirs')->{'vendor-data'}, "#cloud-config\nuser: them\n", 'vendor-data that is given');
vmconf_does('delete', '--force', 'theirs');

# A change takes effect at the next start.
spew("$state/web_1/net", "version: 2\n");
spew("$state/web_1/user-data", "#!/bin/sh\n");
vmconf_does('set', 'web_1', 'cloud-init.network-config=net', 'cloud-init.hostname=changed');
my $changed = volume_of('web_1');
is($changed->{'network-config'}, "version: 2\n", 'network-config');
is($changed->{'user-data'}, "#!/bin/sh\n", 'user-data that has changed');
is($changed->{'meta-data'}{'local-hostname'}, 'changed', 'host name');
is($changed->{'meta-data'}{'instance-id'}, $volume->{'meta-data'}{'instance-id'}, 'the instance is the same');
vmconf_does('set', 'web_1', '--new-instance');
my $renewed = volume_of('web_1');
isnt($renewed->{'meta-data'}{'instance-id'}, $volume->{'meta-data'}{'instance-id'}, '--new-instance: another one');
is(volume_of('web_1')->{'meta-data'}{'instance-id'}, $renewed->{'meta-data'}{'instance-id'}, 'which is kept');
vmconf_does('clone', 'web_1', 'web2');
my $clone = volume_of('web2');
is($clone->{'meta-data'}{'instance-id'}, definition('web2')->{uuid}, 'a clone is a new instance');
is($clone->{'meta-data'}{'local-hostname'}, 'web2', 'with its own name');
is($clone->{'user-data'}, "#!/bin/sh\n", 'and its own copies of files');
ok(-e "$state/web2/net", 'of all of them');
vmconf_does('rename', 'web2', 'web3');
is(volume_of('web3')->{'meta-data'}{'instance-id'}, $clone->{'meta-data'}{'instance-id'}, 'a renamed one is not');

# Files that are wrong when it is started.
for my $wrong (['user-data', qr/cloud-init\.user-data: \S+user-data begins with "x", expected the line #cloud-config/, sub { spew($_[0], "x\n") }],
		['user-data', qr/cloud-init\.user-data: cannot read \S+user-data: it has more than 1 MiB/, sub { spew($_[0], slurp("$work/big")) }],
		['net', qr/cloud-init\.network-config: cannot read \S+net: No such file/, sub { unlink $_[0] }],
		['user-data', qr/cloud-init\.user-data: cannot read \S+user-data: Too many levels/, sub { unlink $_[0]; symlink('/etc/passwd', $_[0]) }]) {
	my ($file, $message, $spoil) = @$wrong;
	$spoil->("$state/web3/$file");
	vmconf_fails(78, $message, 'check', 'web3');
	my ($status, $out, $err) = vmconf('start', 'web3');
	ok($status != 0, "$message: not started") or vmconf('stop', '--kill', 'web3');
	like("$out$err", $message, 'and why');
	spew("$state/web3/net", "version: 2\n");
	spew("$state/web3/user-data", "#!/bin/sh\n") unless -l "$state/web3/user-data";
}
vmconf_does('delete', 'web3');
ok(!-e "$state/web3/cloud-init.img", 'delete removes the volume');

vmconf_does('create', 'past', quick('--hostname', 'was'));
is(volume_of('past')->{'meta-data'}{'local-hostname'}, 'was', 'a volume');
vmconf_does('set', 'past', 'cloud-init=');
vmconf_does('start', 'past');
ok(!-e "$state/past/cloud-init.img", 'what a definition no longer tells is not left there');
vmconf_does('stop', '--kill', 'past');

# ---- credentials of systemd ----

# What QEMU reads, by name.
sub credentials_of {
	my ($name) = @_;
	my %found;
	for my $file (glob("$state/$name/.credential.*")) {
		is((stat $file)[2] & 07777, 0600, "$file is nobody else's");
		my ($prefix, $value) = slurp($file) =~ /\A(io\.systemd\.credential\.binary:[^=]+=)([A-Za-z0-9+\/]+={0,2})?\z/ or die "$file\n";
		$found{ $prefix =~ s/.*:(.*)=/$1/r } = decode_base64($value // '');
	}
	return \%found;
}

my $secret = 'hush, "hush": a b,,c' . "\n";
spew("$work/binary", join('', map { chr } 0 .. 255) . "\0");
vmconf_does('create', 'cred', quick('--ssh-key', "$work/both", '--set', 'credentials=' . JSON::PP::encode_json({ secret => $secret, empty => '', one => 'a',
	two => 'ab', binary => { file => "$work/binary" } })));
is(vmconf_does('check', 'cred'), '', 'check says nothing');
vmconf_does('start', 'cred');
is_deeply(credentials_of('cred'), { secret => $secret, empty => '', one => 'a', two => 'ab', binary => slurp("$work/binary"),
	'ssh.authorized_keys.root' => "$mine\n$other\n" }, 'each as it is, and root\'s ssh keys');
my ($qemu) = (run_command('ps', '-ww', '-eo', 'args'))[1] =~ /^(qemu-system\S+ .*process=vm-cred.*)$/m;
like($qemu, qr/path=\S+\.credential\.secret/, 'QEMU is told where');
unlike($qemu, qr/hush|aHVzaC/, 'and nothing that others must not read');
vmconf_does('stop', '--kill', 'cred');
vmconf_does('set', 'cred', 'credentials={"ssh.authorized_keys.root": "", "mine": {"file": "mine"}}');
vmconf_fails(78, qr/credentials\.mine: cannot read \S+\/mine: No such file/, 'check', 'cred');
my ($failed, $said, $why) = vmconf('start', 'cred');
ok($failed != 0, 'a file that is missing: not started');
like("$said$why", qr/credentials\.mine: cannot read \S+\/mine: No such file/, 'and why');
spew("$state/cred/mine", 'x' x 50000);
vmconf_fails(78, qr/credentials: together they are too large: expected 60000 bytes in base64 at most/, 'check', 'cred');
spew("$state/cred/mine", 'x' x 44000);
vmconf_does('start', 'cred');
is_deeply(credentials_of('cred'), { 'ssh.authorized_keys.root' => '', mine => 'x' x 44000 }, 'the others are gone; a large one');
vmconf_does('stop', '--kill', 'cred');
vmconf_does('clone', 'cred', 'cred2');
is(slurp("$state/cred2/mine"), 'x' x 44000, 'a clone has its own copies of files');
vmconf_does('delete', 'cred');
is_deeply([glob("$state/cred/.credential.*")], [], 'delete removes them');

done_testing;
