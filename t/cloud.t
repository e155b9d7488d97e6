#!/usr/bin/perl
# A Debian guest like a cloud image, made by vmconf create --image: its name, its user, who may log in, user-data, its agent, a clone
# of it, and the session of README.md. Nothing in the image lets anybody in.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use JSON::PP ();
use POSIX ();
BEGIN { $ENV{T_BOUND} ||= 900 }	# it is slow without KVM
use T;

need('qemu-system-x86_64', 'qemu-img', 'mmdebstrap', 'mke2fs', 'ssh', 'ssh-keygen', 'bash');
need_that("perl has IO::Pty", sub { eval { require Pty } });
need_that('root', sub { $> == 0 });

my $debian = "$top/build/cloud";
system("$top/t/debian-guest", $debian, 'cloud') == 0 or die "t/debian-guest failed\n";

my $home = $ENV{HOME} = "$work/home";
delete @ENV{qw(SSH_AUTH_SOCK SUDO_USER)};
mkdir $_ for $home, "$home/.ssh";
is((run_command('ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', "$home/.ssh/id_ed25519"))[0], 0, 'a key');

$ENV{SSH_AUTH_SOCK} = "$work/agent";
my $agent_pid = fork // die "fork: $!";
exec 'ssh-agent', '-D', '-a', $ENV{SSH_AUTH_SOCK} or POSIX::_exit(127) if !$agent_pid;
END {
	my $status = $?;
	kill('TERM', $agent_pid) && waitpid($agent_pid, 0) if $agent_pid;
	$? = $status;
}
wait_until('ssh-agent', sub { -S "$work/agent" });
is((run_command('ssh-add', '-q', "$home/.ssh/id_ed25519"))[0], 0, 'ssh-agent has it');

# Runs a command in the guest, as a user (undef: its own).
sub in_guest {
	my ($name, $user, @command) = @_;
	return run_command("$top/vmconf", 'ssh', $name, $user ? ('-l', $user) : (), '--', @command);
}

sub says {
	my ($name, $user, @command) = @_;
	return (in_guest($name, $user, @command))[1] =~ s/\n\z//r;
}

sub wait_ssh {
	my ($name, $user) = @_;
	wait_until(sub { "ssh to $name:\n" . slurp("$ENV{QEMU_SUPERVISE_STATE_DIR}/$name/console.log") }, sub { (in_guest($name, $user, 'true'))[0] == 0 });
}

sub boots {
	my (@options) = @_;
	return ('--memory', '768M', '--cpus', 2, '--set', 'accel=tcg', '--set', "kernel=$debian/vmlinuz",
		'--set', "initrd=$debian/initrd", '--set', 'append=root=/dev/vda rw console=ttyS0 delay=0', '--set', 'boot-timeout=10m', @options);
}

spew("$work/user-data", "#cloud-config\nwrite_files:\n- {path: /etc/said, content: it was said}\n");
vmconf_does('create', 'web_1', '--image', "$debian/disk.raw", '--image-format', 'raw', '--disk', '3G',
	boots('--user-data', "$work/user-data", '--set', 'credentials={"greeting": "hello, world: 1", "two": {"file": "two"}}'));
spew("$work/disc.iso", 'a disc' . "\0" x 4096);
vmconf_does('set', 'web_1', "cdrom=$work/disc.iso", 'disks.1={"path": "data.raw", "format": "raw"}');
truncate(spew("$ENV{QEMU_SUPERVISE_STATE_DIR}/web_1/data.raw", ''), 128 << 20);
spew("$ENV{QEMU_SUPERVISE_STATE_DIR}/web_1/two", "a\0b\n");
vmconf_does('start', '--no-wait', 'web_1');
wait_ssh('web_1', 'debian');
is(says('web_1', 'debian', 'hostname'), 'web-1', 'its host name is that of the VM');
is(says('web_1', 'debian', 'cat /etc/said'), 'it was said', 'user-data');
is(says('web_1', 'debian', 'sudo id -u'), 0, 'its user may become root');
like(says('web_1', 'debian', 'cloud-init status --wait >/dev/null; cloud-init query cloud_name ds 2>&1; cat /run/cloud-init/result.json'), qr/DataSourceNoCloud \[seed=\/dev\/vd[bc]\]/, 'it read the volume');
cmp_ok(says('web_1', 'debian', 'df --output=size -k / | tail -1'), '>', 2500000, 'its file system has grown');
is(says('web_1', 'debian', 'sudo cat /run/credentials/@system/greeting'), 'hello, world: 1', 'a credential of systemd');
is(says('web_1', 'debian', 'sudo od -An -c /run/credentials/@system/two'), '   a  \0   b  \n', 'from a file, with a NUL');
is(says('web_1', 'debian', 'sudo head -c 6 /dev/sr0'), 'a disc', 'its cloud kernel sees the cdrom');
is(says('web_1', 'debian', 'sudo cat /run/credentials/@system/ssh.authorized_keys.root'), slurp("$home/.ssh/id_ed25519.pub") =~ s/\n\z//r, 'the keys are one, too');
like(says('web_1', 'root', 'hostname'), qr/Please login as the user "debian"/, 'with which cloud-init does not let root in');
my $agent = wait_until('the agent', sub {
	my ($status, $out) = vmconf('status', 'web_1', '--json');
	return $status == 0 && $out =~ /10\.0\.2\.15/ ? $out : undef;
});
ok($agent, 'the agent tells its address');
vmconf_does('grow', 'web_1', '4G');
is(says('web_1', 'debian', 'lsblk -bdno SIZE /dev/vda'), 4 << 30, 'grown while it runs');
like(vmconf_does('grow', 'web_1', '4G', '--file-system'), qr/^web_1: what is mounted from disks\[0\] has grown, too$/m, 'its file system, too');
cmp_ok(says('web_1', 'debian', 'df --output=size -k / | tail -1'), '>', 3500000, 'so it has');
is(says('web_1', 'debian', 'disk=/dev/$(lsblk -bdno NAME,SIZE | sed -n "s/ *134217728$//p"); printf ,64M | sudo sfdisk -q $disk && sudo mkfs.ext4 -q ${disk}1 && sudo mkdir "/a b" && sudo mount ${disk}1 "/a b" && echo good'), 'good', 'a partition');
like(vmconf_does('grow', 'web_1', '256M', '--disk', 1, '--file-system'), qr/^web_1: what is mounted from disks\[1\] has grown, too$/m, 'that one, too');
cmp_ok(says('web_1', 'debian', 'df --output=size -k "/a b" | tail -1'), '>', 200000, 'it and its file system');
ok(-s "$ENV{QEMU_SUPERVISE_STATE_DIR}/web_1/known_hosts", 'its host key is kept apart from those of the user');
my $host_key = says('web_1', 'debian', 'cat /etc/ssh/ssh_host_ed25519_key.pub');
vmconf_does('stop', 'web_1');

# A clone is another machine; its user has another name.
vmconf_does('clone', 'web_1', 'web-2');
vmconf_does('set', 'web-2', 'cloud-init.user=somebody');
vmconf_does('start', '--no-wait', 'web-2');
wait_ssh('web-2');
is(says('web-2', undef, 'hostname'), 'web-2', 'a clone has its own name');
isnt(says('web-2', undef, 'cat /etc/ssh/ssh_host_ed25519_key.pub'), $host_key, 'and its own host keys');
is(says('web-2', undef, 'sudo id -u'), 0, 'the user is like that of the image');
vmconf_does('stop', 'web-2');

# The session in README.md, typed as it stands there. What is special about this image, and about this host, is in defaults.json.
my $images = "$ENV{QEMU_SUPERVISE_STATE_DIR}/images";
mkdir($images);
is((run_command('qemu-img', 'convert', '-O', 'qcow2', "$debian/disk.raw", "$images/debian12.qcow2"))[0], 0, 'an image');
T::define('defaults', { accel => 'tcg', kernel => "$debian/vmlinuz", initrd => "$debian/initrd", 'boot-timeout' => '10m',
	append => 'root=/dev/vda rw console=ttyS0 delay=0' });
my ($session) = slurp("$top/README.md") =~ /^(    \$ vmconf create web1 .*?)\n\n/ms;
my @lines = $session =~ /^    \$ (.*)$/mg;
cmp_ok(scalar(@lines), '>=', 9, 'a session');
my $shell = Pty->new({ PS1 => '[$?]# ', TERM => 'dumb', PROMPT_COMMAND => undef, PATH => "$top:$ENV{PATH}" }, 'bash', '--norc', '--noprofile', '-i');
$shell->expect(qr/\[0\]# /);
my $said;
for my $line (@lines) {
	$shell->type("$line\n");
	if ($line =~ /^vmconf ssh/) {
		$shell->expect(qr/debian\@web1:~\$ /);
		$shell->type("exit\n");
	}
	if ($line =~ /^vmconf console/) {
		$shell->expect(qr/console of web1; Ctrl-\]/);
		$shell->type("\x1d");
	}
	$said = $shell->expect(qr/\[\d+\]# /);
	like($said, qr/\[0\]# \z/, $line) or diag(slurp("$ENV{QEMU_SUPERVISE_STATE_DIR}/web1/console.log"));
}
like($said, qr/vmconf delete web1/, 'to the end');
ok(!definition('web1'), 'and web1 is gone');
$shell->close;

done_testing;
