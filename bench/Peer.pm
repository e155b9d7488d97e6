# make bench-peers: who starts and stops a VM, each with the same methods; pids are QEMU's.
#
#	why_not()		why it cannot be had here, or ''
#	define(NAME, MODE)	a VM with the guest in that mode (t/guest-init), or without a mode one whose CPUs do not run
#	start(NAME)		returns when it says that the VM runs
#	pid(NAME)		of its QEMU
#	press(NAME)		asks for an orderly stop, and returns
#	kill_all()		ends what is left
#	daemons()		its processes, but for QEMU
use strict;
use warnings;

package Peer;
use Digest::MD5 ();
use T;
use Table;
use Time::HiRes qw(sleep);

our %vms;	# console and disk of each

sub new { return bless { pids => {} }, $_[0] }

sub console { return "$work/$_[1].console" }

# The words of QEMU that all of them have.
sub guest {
	my ($self, $name, $mode) = @_;
	my $dir = guest_files();
	unlink($self->console($name));
	return ("$dir/vmlinuz", "$dir/initrd", T::guest_append($mode));
}

sub does {
	my ($self, @words) = @_;
	my ($status, $out, $err) = run_command(@words);
	die "@words: $err\n" if $status != 0;
	return $out;
}

sub pid { return $_[0]{pids}{$_[1]} }

# A process of which the name and a word of the command line are known.
sub find_process {
	my ($self, $name, $word) = @_;
	for my $file (glob '/proc/[0-9]*/cmdline') {
		my @words = split /\0/, slurp($file);
		return $file =~ s{/proc/(\d+)/.*}{$1}r if @words && $words[0] =~ /(?:^|\/)$name/ && grep { $_ =~ $word } @words;
	}
	return;
}

sub is_gone {
	my ($self, $name) = @_;
	my $pid = $self->pid($name);
	return slurp("/proc/$pid/stat") !~ /\) [^ZX]/;
}

sub listens { return slurp($_[0]->console($_[1])) =~ /guest: listening/ }

# ---- ours ----

package Peer::Ours;
use T;
our @ISA = ('Peer');

sub name { return 'ours' }
sub why_not { return '' }

sub define {
	my ($self, $name, $mode) = @_;
	my %vm = (machine => 'q35', accel => 'tcg', memory => '128M', nics => [], console => 'none', agent => JSON::PP::false);
	if ($mode) {
		@vm{qw(kernel initrd append)} = $self->guest($name, $mode);
		$vm{args} = ['-serial', 'file:' . $self->console($name)];
	} else {
		@vm{qw(memory args)} = ('16M', ['-S']);
	}
	T::define($name, \%vm);
}

sub create { $_[0]->does("$top/vmconf", 'create', $_[1], '--nic', 'none') }
sub start { $_[0]->does("$top/vmconf", 'start', $_[1]) }
sub pid { return T::qemu_in("$ENV{QEMU_SUPERVISE_STATE_DIR}/$_[1]/vm.lock") || 0 }
sub keeper { return (slurp("$ENV{QEMU_SUPERVISE_RUNTIME_DIR}/$_[1]/lock") =~ /(\d+)/)[0] || 0 }
sub press { kill('TERM', $_[0]->keeper($_[1])) }
sub is_gone { return !$_[0]->pid($_[1]) }
sub start_many { my $self = shift; $self->does("$top/vmconf", 'start', @_) }
sub stop_many { my $self = shift; $self->does("$top/vmconf", 'stop', @_) }
sub kill_all { run_command("$top/vmconf", 'stop', '--all', '--kill'); unlink(glob("$ENV{QEMU_SUPERVISE_CONFIG_DIR}/*.json")) }
sub list { return ("$top/vmconf", 'list') }
sub daemons { my $self = shift; return grep { $_ } map { $self->keeper($_) } @_ }

# ---- libvirt, with a daemon of its own ----

package Peer::Libvirt;
use T;
use Table;
use Time::HiRes qw(sleep);
our @ISA = ('Peer');

# Without a bound: the first answer waits for all emulators that are installed.
my @virsh = ('virsh', '-q', '-k', '0', '-c', 'qemu:///system');

sub name { return 'libvirt' }

sub why_not {
	my ($self) = @_;
	for my $program (qw(virsh libvirtd)) {
		return "$program is not installed" if !grep { -x "$_/$program" } split(/:/, $ENV{PATH}), '/usr/sbin';
	}
	return 'it needs root' if $> != 0;
	return 'this machine has a libvirtd that runs; t/suite has a place for one' if (run_command(@virsh, 'list'))[0] == 0;
	return $self->start_daemon ? '' : 'libvirtd does not answer: ' . (slurp("$work/libvirtd") =~ /error : (.*)/)[0];
}

# In a root of t/suite, with nothing of systemd: no control groups, and no daemon for logs.
sub start_daemon {
	my ($self) = @_;
	spew('/etc/libvirt/qemu.conf', qq(user = "root"\ngroup = "root"\nsecurity_driver = "none"\ncgroup_controllers = []\nnamespaces = []\n)
		. qq(stdio_handler = "file"\nremember_owner = 0\n)) if $ENV{container} || -e '/src/t/suite';
	$self->{daemon} = fork // die "fork: $!";
	if ($self->{daemon} == 0) {
		open(STDOUT, '>', "$work/libvirtd");
		open(STDERR, '>&', \*STDOUT);
		exec 'libvirtd';
	}
	my $until = now() + 30000;
	sleep 0.1 while (my $no = (run_command(@virsh, 'list'))[0]) && now() < $until;
	return if (run_command(@virsh, 'list'))[0] != 0;
	$self->define('try');
	$self->kill_all;
	return 1;
}

# The same each time, so that it may be defined again.
sub uuid { return join('-', unpack('A8 A4 A4 A4 A12', Digest::MD5::md5_hex($_[0]))) }

sub xml {
	my ($self, $name, $mode) = @_;
	my ($kernel, $initrd, $append) = $mode ? $self->guest($name, $mode) : ();
	my $boot = $mode ? "<kernel>$kernel</kernel><initrd>$initrd</initrd><cmdline>" . $append =~ s/&/&amp;/gr =~ s/</&lt;/gr . '</cmdline>' : '';
	my $serial = $mode ? "<serial type='file'><source path='" . $self->console($name) . "'/></serial>" : '';
	return spew("$work/$name.xml", "<domain type='qemu'><name>$name</name><uuid>" . uuid($name) . "</uuid><memory unit='MiB'>" . ($mode ? 128 : 16) . '</memory>'
		. "<os><type arch='x86_64' machine='q35'>hvm</type>$boot</os><features><acpi/></features>"
		. "<devices><emulator>/usr/bin/qemu-system-x86_64</emulator><controller type='usb' model='none'/>"
		. "<memballoon model='none'/>$serial</devices></domain>\n");
}

sub define {
	my ($self, $name, $mode) = @_;
	$self->does(@virsh, 'define', $self->xml($name, $mode));
	$self->{paused}{$name} = !$mode;
	push @{ $self->{defined} }, $name;
}

sub create { $_[0]->define($_[1]) }
sub start { my ($self, $name) = @_; $self->does(@virsh, 'start', $name, $self->{paused}{$name} ? '--paused' : ()); delete $self->{pids}{$name} }
sub pid { my ($self, $name) = @_; return $self->{pids}{$name} ||= $self->find_process('qemu-system', qr/^guest=\Q$name\E(?:,|$)/) }
sub press { $_[0]->does(@virsh, 'shutdown', $_[1]) }
sub list { return (@virsh, 'list', '--all') }
sub daemons { return $_[0]{daemon} }

# One virsh for all of them, as one would who has many.
sub batch {
	my ($self, @lines) = @_;
	my $file = spew("$work/batch", join('', map { "$_\n" } @lines, 'quit'));
	return $self->does('sh', '-c', "virsh -q -k 0 -c qemu:///system <$file");
}

sub define_many { my ($self, @names) = @_; push @{ $self->{defined} }, @names; $self->batch(map { 'define ' . $self->xml($_) } @names); $self->{paused}{$_} = 1 for @names }
sub start_many { my ($self, @names) = @_; delete @{ $self->{pids} }{@names}; $self->batch(map { "start $_" . ($self->{paused}{$_} ? ' --paused' : '') } @names) }

sub stop_many {
	my ($self, @names) = @_;
	$self->pid($_) for @names;
	$self->batch(map { "shutdown $_" } @names);
	for my $name (@names) {
		my $until = now() + 60000;
		sleep 0.005 until $self->is_gone($name) || now() > $until;
	}
}

sub kill_all {
	my ($self) = @_;
	$self->batch(map { ("destroy $_", "destroy $_", "undefine $_") } splice @{ $self->{defined} || [] }) if @{ $self->{defined} || [] };
	$self->{pids} = {};
}

sub end { my ($self) = @_; return if !$self->{daemon}; kill('TERM', $self->{daemon}); waitpid($self->{daemon}, 0) }

# ---- bare QEMU, with sh and socat ----

package Peer::Bare;
use T;
use Table;
use Time::HiRes qw(sleep);
our @ISA = ('Peer');

sub name { return 'sh, socat' }
sub why_not { return (grep { -x "$_/socat" } split(/:/, $ENV{PATH})) ? '' : 'socat is not installed' }

sub define {
	my ($self, $name, $mode) = @_;
	my ($kernel, $initrd, $append) = $self->guest($name, $mode || 'normal');
	$self->{command}{$name} = ['qemu-system-x86_64', '-machine', 'q35', '-accel', 'tcg', '-m', 128, '-nodefaults', '-no-user-config',
		'-display', 'none', '-kernel', $kernel, '-initrd', $initrd, '-append', $append, '-serial', 'file:' . $self->console($name),
		'-qmp', "unix:$work/$name.qmp,server=on,wait=off"];
}

sub start {
	my ($self, $name) = @_;
	unlink("$work/$name.qmp");
	my $pid = $self->{pids}{$name} = fork // die "fork: $!";
	if ($pid == 0) {
		open(STDERR, '>', "$work/$name.err");
		exec @{ $self->{command}{$name} };
	}
	sleep 0.001 until -S "$work/$name.qmp" && (run_command('sh', '-c', qq(printf '{"execute": "qmp_capabilities"}\\n{"execute": "query-status"}\\n' |
		socat -t 5 - "UNIX-CONNECT:$work/$name.qmp" 2>/dev/null | grep -qm 1 running)))[0] == 0;
}

sub press {
	my ($self, $name) = @_;
	run_command('sh', '-c', qq(printf '{"execute": "qmp_capabilities"}\\n{"execute": "system_powerdown"}\\n' | socat - "UNIX-CONNECT:$work/$name.qmp"));
}

sub is_gone { my ($self, $name) = @_; return waitpid($self->{pids}{$name}, POSIX::WNOHANG()) != 0 }
sub start_many { my $self = shift; $self->start($_) for @_ }

sub stop_many {
	my ($self, @names) = @_;
	$self->press($_) for @names;
	for my $name (@names) {
		sleep 0.005 until $self->is_gone($name);
	}
}

sub kill_all { my ($self) = @_; for (values %{ $self->{pids} }) { kill('KILL', $_); waitpid($_, 0) } $self->{pids} = {} }
sub daemons { return }

# ---- systemd-vmspawn ----

package Peer::Vmspawn;
use T;
use Table;
use Time::HiRes qw(sleep);
our @ISA = ('Peer');

sub name { return 'vmspawn' }

sub why_not {
	my ($self) = @_;
	my ($status, $out) = run_command('systemd-vmspawn', '--version');
	return 'systemd-vmspawn is not installed (Debian 13 builds systemd without it)' if $status != 0;
	my ($version) = $out =~ /^systemd (\d+)/;
	return "systemd is $version, not 257" if $version < 257;
	$self->define('try', 'normal');
	$self->start('try');
	my $until = now() + 60000;
	sleep 0.1 until $self->listens('try') || now() > $until || waitpid($self->{pids}{try}, POSIX::WNOHANG()) != 0;
	my $listens = $self->listens('try');
	$self->kill_all;
	return $listens ? '' : 'systemd-vmspawn does not boot the guest: ' . ((reverse grep { /\S/ } split /\n/, slurp("$work/try.err") . slurp($self->console('try')))[0] // 'it says nothing');
}

sub define {
	my ($self, $name, $mode) = @_;
	my ($kernel, $initrd, $append) = $self->guest($name, $mode || 'normal');
	truncate(spew("$work/$name.raw", ''), 16 << 20);
	$self->{command}{$name} = ['systemd-vmspawn', '--quiet', "--machine=$name", "--image=$work/$name.raw", '--kvm=no', '--vsock=no', '--tpm=no',
		'--register=no', '--cpus=1', '--ram=128M', '--console=native', '--secure-boot=no', "--linux=$kernel", "--initrd=$initrd",
		split(' ', $append)];
}

sub start {
	my ($self, $name) = @_;
	my $pid = $self->{pids}{$name} = fork // die "fork: $!";
	if ($pid == 0) {
		open(STDIN, '<', '/dev/null');
		open(STDOUT, '>', $self->console($name));
		open(STDERR, '>', "$work/$name.err");
		exec @{ $self->{command}{$name} };
	}
}

sub press { kill('TERM', $_[0]{pids}{$_[1]}) }
sub is_gone { my ($self, $name) = @_; return waitpid($self->{pids}{$name}, POSIX::WNOHANG()) != 0 }
sub kill_all { my ($self) = @_; for (values %{ $self->{pids} }) { kill('TERM', $_); kill('KILL', T::children($_)); waitpid($_, 0) } $self->{pids} = {} }
sub daemons { my $self = shift; return map { $self->{pids}{$_} } @_ }

1;
