#!/usr/bin/perl
# vmconf import: definitions from libvirt's XML as virt-install, virt-manager and cockpit write it (t/domains), each thing that is
# left out, what is refused, and a guest that starts and stops.
use strict;
use warnings;
use File::Basename qw(dirname);
use FindBin;
use lib $FindBin::Bin;
use JSON::PP ();
use T;

need('qemu-system-x86_64', 'mke2fs', 'dumpe2fs', 'python3');
need_that('there is UEFI firmware (t/setup check installs it)',
	sub { join('', map { slurp($_) } glob '/usr/share/qemu/firmware/*.json') =~ /"x86_64"/ });

my ($config, $state) = @ENV{qw(QEMU_SUPERVISE_CONFIG_DIR QEMU_SUPERVISE_STATE_DIR)};
my $domains = "$top/t/domains";

# All files of both directories but the lock.
sub files {
	my @found = `find $config $state -not -name .lock -not -type d 2>/dev/null`;
	chomp @found;
	return join ' ', sort @found;
}

# A definition that is only printed, and the lines about what it does not have.
sub printed {
	my ($file, @name) = @_;
	my ($status, $out, $err) = vmconf('import', $file, @name, '--print');
	is($status, 0, "$file is printed") or diag($err);
	return (JSON::PP::decode_json($out || '{}'), [map { s/^vmconf: [^:]*: //r } split /\n/, $err]);
}

# A small domain with more or other elements, from standard input.
sub domain {
	my ($devices, %o) = @_;
	my $file = spew("$work/domain.xml", ($o{before} || '') . "<domain type='" . ($o{type} || 'qemu') . "'><name>" . ($o{name} || 'small')
		. "</name><memory>" . ($o{memory} || 65536) . "</memory><vcpu>1</vcpu><os><type arch='x86_64'>" . ($o{os} || 'hvm')
		. "</type>" . ($o{boot} || '') . "</os><features><acpi/></features>" . ($o{more} || '') . "<devices>$devices</devices></domain>");
	return $file;
}

# What is left of one device.
sub left {
	my ($device, %o) = @_;
	my (undef, $left) = printed(domain($device, %o));
	return join "\n", @$left;
}

# ---- as the tools write them ----

my ($web, $left) = printed("$domains/virt-install.xml");
is_deeply($web, {
	description => 'web server: nginx & PHP', uuid => '3f6b1f0e-6d2a-4a8e-9d4b-0c7d2f1a5e61', emulator => 'qemu-system-x86_64',
	machine => 'pc-q35-7.2,vmport=off,hpet=off', accel => 'kvm', cpu => 'host', cpus => 2, memory => '2G',
	disks => [
		{ path => '/var/lib/libvirt/images/web.qcow2', format => 'qcow2', cache => { direct => JSON::PP::true }, discard => 'unmap',
			file => { aio => 'native' }, properties => { bootindex => 1 } },
		{ path => '/dev/vg/data', format => 'raw', device => 'scsi-hd', 'detect-zeroes' => 'unmap',
			properties => { serial => 'A1', 'write-cache' => 'off' } }
	],
	nics => [{ type => 'bridge', br => 'br0', mac => '52:54:00:aa:bb:01' }],
	agent => JSON::PP::true, pvpanic => JSON::PP::true, watchdog => { device => 'i6300esb', action => 'reset' },
	args => [qw(-global ICH9-LPC.disable_s3=1 -global ICH9-LPC.disable_s4=1 -device virtio-rng-pci -rtc driftfix=slew)]
}, 'a server of virt-install\'s');
is(scalar @$left, 4, 'which has little that is left out') or diag(join "\n", @$left);
my $lines = join "\n", @$left;
like($lines, qr/^disk sdb: left out; it has no disc in it$/m, 'an empty drive');
like($lines, qr/^interface 52:54:00:aa:bb:02: left out; only libvirt knows .*net-info default\); .*vmconf set NAME 'nics\.1=\{"type": "bridge", "br": "BRIDGE", "mac": "52:54:00:aa:bb:02"\}'$/m,
	'a network of libvirt\'s, and what to do');
like($lines, qr/^memballoon virtio: left out; the guest keeps all/m, 'a balloon');
like($lines, qr/^interfaces: the guest may give them other names/m, 'names of nics');

(my $win, $left) = printed("$domains/virt-manager.xml", 'win11');
is($win->{cpu}, 'host,vmx=off,hv-relaxed=on,hv-vapic=on,hv-spinlocks=0x1fff,hv-synic=on,hv-stimer=on,hv-stimer-direct=on,'
		. 'hv-vendor-id=KVM Hv,kvm=off,hv-time=on,hv-crash=on', 'Windows: the CPU, as Hyper-V\'s');
is($win->{machine}, 'q35,vmport=off,smm=on,hpet=off', 'the machine');
is($win->{memory}, '8G', 'memory in another unit');
is($win->{emulator}, '/opt/qemu/bin/qemu-system-x86_64', 'an emulator elsewhere');
is($win->{display}, 'vnc=unix:vnc.sock', 'VNC instead of spice');
is_deeply([map { [@$_{qw(path device)}, $_->{properties}{bootindex}] } @{ $win->{disks} }],
	[['/srv/vm/win,11.qcow2', 'ide-hd', 2], ['/srv/iso/windows.iso', 'ide-cd', 1]], 'disks, a CD, and their order');
is($win->{disks}[0]{properties}{werror}, 'enospc', 'what a full disk does');
is_deeply($win->{nics}, [{ type => 'bridge', br => 'virbr0', mac => '52:54:00:11:22:33', device => 'e1000e' }], 'a network whose bridge is known');
is_deeply([$win->{tpm}, $win->{shares}], [JSON::PP::true, [{ path => '/srv/share', tag => 'share' }]], 'a TPM and a share');
is_deeply($win->{on}, { GUEST_PANICKED => 'reset' }, 'on_crash: restart');
my $args = join ' ', @{ $win->{args} };
like($args, qr/-smp sockets=1,cores=2,threads=2( |$)/, 'the topology');
like($args, qr/-boot strict=on( |$)/, 'QEMU\'s own arguments');
like($args, qr/-rtc base=localtime,driftfix=slew( |$)/, 'the clock');
like($args, qr/-global ICH9-LPC.noreboot=off -action watchdog=reset( |$)/, 'the watchdog of the chipset');
$lines = join "\n", @$left;
like($lines, qr/^\Q$_\E/m, "left out, or other: $_") for (
	'os/nvram /var/lib/libvirt/qemu/nvram/win11_VARS.fd: it cannot be read here', 'currentMemory: the guest has all',
	'cpu: host-model: host, so', 'disk sda: driver iothread: left out', 'disk sda: iotune: left out; its I/O is not limited',
	'disk vda: left out; a volume; its path: virsh vol-path --pool \'big pool\' data.qcow2', 'disk vdb: left out; of type network',
	'disk vdc: left out; it is encrypted', 'disk fda: left out; a floppy', 'controller scsi lsilogic: disks on it are on virtio-scsi',
	'interface 52:54:00:11:22:33: virbr0 is there only while libvirt\'s network "default"', 'interface 52:54:00:11:22:34: left out; it is of type direct',
	'interface 52:54:00:11:22:35: left out; it is on a switch', 'serial tcp: left out', 'channel com.redhat.spice.0: left out',
	'graphics spice: VNC on the socket', 'sound ich9: left out', 'video qxl: the machine\'s own', 'tpm: a new one; have the recovery key ready if its disk is sealed with one (BitLocker)',
	'hostdev pci: left out', 'redirdev spicevmc: left out', 'memballoon virtio: left out', 'on_reboot destroy: as with "restart" here',
	'qemu:env: left out', 'cputune: left out'
);
is(scalar(grep { /^redirdev/ } @$left), 1, 'the same twice is one line');
unlike($lines, qr/^(link|audio|input|controller (usb|pci))/m, 'what nobody will miss is not mentioned');

(my $fedora, $left) = printed("$domains/cockpit.xml");
is($fedora->{memory}, '1500M', 'cockpit: memory in MiB');
is($fedora->{machine}, 'pc-i440fx-7.2,acpi=off', 'a machine without ACPI stays one');
is($fedora->{cpu}, 'Haswell-noTSX,pcid=on,aes=off', 'a CPU with features');
is($fedora->{cpus}, 2, 'the CPUs that it has at first');
is($fedora->{emulator}, '/usr/libexec/qemu-kvm', 'the emulator of RHEL');
is($fedora->{display}, 'vnc=127.0.0.1:1', 'VNC at a port');
is_deeply([map { $_->{properties}{bootindex} } @{ $fedora->{nics} }[0], @{ $fedora->{disks} }[1, 0]], [1, 2, 3], 'the boot order by kinds');
is_deeply($fedora->{disks}[0]{cache}, { 'no-flush' => JSON::PP::true }, 'cache unsafe');
ok($fedora->{disks}[0]{properties}{'share-rw'}, 'shareable');
is_deeply($fedora->{nics}[1], { type => 'tap', ifname => 'tap7', script => 'no', downscript => 'no', mac => '52:54:00:5e:00:02', device => 'rtl8139' },
	'a tap');
is($fedora->{nics}[0]{properties}{host_mtu}, 1400, 'an MTU');
$lines = join "\n", @$left;
like($lines, qr/^\Q$_\E/m, "left out, or other: $_") for (
	'vcpu: no CPU can be added', 'clock: timezone: ', 'console virtio: left out', 'graphics vnc: one is enough', 'video vga: ',
	'on_crash coredump-destroy: ', 'on_poweroff restart: as with "destroy" here', 'memoryBacking: left out'
);
unlike($lines, qr/memballoon/, 'no balloon is none here, too');

# ---- small things ----

like(left("<interface type='bridge'><source bridge='b'/><filterref filter='f'/></interface>"), qr/filterref: left out; its traffic is not filtered/, 'a filter');
like(left("<interface type='bridge'><source bridge='b'/><link state='down'/></interface>"), qr/^interface: link: left out/, 'a link that is down');
like(left("<interface type='bridge'><source bridge='b'/><vlan><tag id='5'/></vlan></interface>"), qr/left out;.*in a VLAN/, 'a VLAN');
like(left("<disk type='file'><source file='/a'/><target dev='vda' bus='virtio'/><transient/></disk>"), qr/disk vda: transient: left out; what the guest writes is kept/, 'transient');
like(left("<disk type='file'><source file='/a'><slices><slice type='storage' offset='1' size='2'/></slices></source><target dev='vda' bus='virtio'/></disk>"),
	qr/disk vda: left out; it is a part of a file/, 'a slice');
like(left("<nonsense model='x'/>"), qr/^nonsense x: left out$/, 'what is new to us');
like(left('', more => '<launchSecurity type="sev"/>'), qr/^launchSecurity: left out; the guest's memory is not encrypted$/, 'launchSecurity');
like(left('', memory => 65537), qr/^memory: 67109888 bytes are 65 MiB here$/, 'memory that is no whole MiB');
my ($small) = printed(domain("<interface type='user'><portForward proto='tcp' address='127.0.0.1'><range start='2022' to='22'/></portForward></interface>"));
is_deeply($small->{forwards}, ['127.0.0.1:2022:22/tcp'], 'ports of a user network');
($small) = printed(domain("<graphics type='vnc' port='5900' passwd='x'/>"));
is($small->{display}, 'vnc=unix:vnc.sock', 'with a password, which we have not, not at a port');
($small) = printed(domain("<graphics type='vnc' port='5900' listen='::1'/>"));
is($small->{display}, 'vnc=[::1]:0', 'an address of IPv6');
($small) = printed(domain("<disk type='block' device='lun'><source dev='/dev/sdb'/><target dev='sda' bus='scsi'/></disk>"));
is($small->{disks}[0]{device}, 'scsi-block', 'a LUN');
($small) = printed(domain("<panic model='isa'/>", more => '<on_crash>preserve</on_crash>'));
is_deeply([$small->{args}, $small->{on}], [['-action', 'panic=pause'], undef], 'on_crash: preserve');

# ---- what runs beside QEMU ----

my $tpm = "<tpm model='tpm-tis'><backend type='emulator' version='2.0'/></tpm>";
($small, $left) = printed(domain($tpm, more => '<uuid>3f6b1f0e-6d2a-4a8e-9d4b-0c7d2f1a5e61</uuid>'));
is($small->{tpm}, JSON::PP::true, 'a TPM');
like($left->[0], qr{^tpm: a new one; .*copy /var/lib/libvirt/swtpm/3f6b1f0e-6d2a-4a8e-9d4b-0c7d2f1a5e61/tpm2 to "tpm" in the state directory}, 'where the old one is');
unlike(left($tpm =~ s{/></tpm>}{><encryption secret='x'/></backend></tpm>}r, more => '<uuid>3f6b1f0e-6d2a-4a8e-9d4b-0c7d2f1a5e61</uuid>'),
	qr/copy/, 'one that is encrypted cannot be copied');
like(left("<tpm model='tpm-tis'><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>"),
	qr/^tpm passthrough 2\.0: left out; the guest has no TPM: have the recovery key/, 'the host\'s own');
like(left("<tpm model='tpm-tis'><backend type='emulator' version='1.2'/></tpm>"), qr/^tpm emulator 1\.2: left out/, 'an old one');

sub filesystem {
	my ($attributes, $source, $tag, $more) = @_;
	return "<filesystem $attributes><source $source/><target dir='$tag'/>" . ($more || '') . '</filesystem>';
}

my $virtiofs = "<driver type='virtiofs'/>";
my $backing = "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>";
($small, $left) = printed(domain(filesystem("type='mount'", "dir='/srv/a b'", 'a.b', "$virtiofs<readonly/>")
	. filesystem("type='mount'", "dir='/srv/c'", 'c', "$virtiofs<binary path='/usr/libexec/virtiofsd' xattr='on'/>"), more => $backing));
is_deeply($small->{shares}, [{ path => '/srv/a b', tag => 'a.b', 'read-only' => JSON::PP::true }, { path => '/srv/c', tag => 'c' }], 'shares');
is_deeply($left, ['filesystem c: binary: left out; virtiofsd has its own options'], 'what is said of them');
($small, $left) = printed(domain(filesystem('', "dir='/srv/a'", 'a')));
is_deeply($small->{shares}, [{ path => '/srv/a', tag => 'a' }], '9p becomes a share');
is_deeply($left, ['filesystem a: by virtiofs instead of 9p: so it must be in the guest\'s fstab'], 'which is said');
like(left(filesystem(@{ $_->[0] })), qr/^filesystem .*left out; $_->[1].*; remove it from the guest's fstab$/, "not a share: $_->[1]") for (
	[["type='mount' accessmode='mapped'", "dir='/a'", 'a'], 'its access mode is mapped'],
	[["type='template'", "name='a'", 'a'], 'of type template, driver path'],
	[["type='mount'", "socket='/run/x.sock'", 'a', $virtiofs], 'it has no directory of the host'],
	[["type='mount'", "dir='/a'", '/a', $virtiofs], 'its tag is not of up to 36 letters'],
);
like(left('', more => $backing), qr/^memoryBacking: left out/, 'shared memory that nobody needs');

# ---- what is refused ----

sub refused {
	my ($file, $why, $what) = @_;
	my $before = files();
	vmconf_fails(1, qr/^vmconf: \Q$file\E: $why/, 'import', $file, 'no');
	is(files(), $before, "$what: nothing is left");
	return;
}

refused("$work/none.xml", qr/cannot read it: No such file/, 'no file');
refused($work, qr/cannot read it: Is a directory/, 'a directory');
refused(spew("$work/bad.xml", "<domain type='kvm'><name>a</domain>"), qr/it is no XML: mismatched tag: line 1/, 'wrong XML');
refused(spew("$work/bad.xml", ''), qr/it is no XML: /, 'an empty file');
refused(spew("$work/bad.xml", "<?xml version='1.0' encoding='klingon'?><domain/>"), qr/it is no XML: /, 'an unknown encoding');
refused(spew("$work/bad.xml", '<network><name>default</name></network>'), qr/it is a <network>, expected a <domain>, as "virsh dumpxml NAME"/, 'no domain');
refused(domain('', before => "<!DOCTYPE d [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>", name => '&e;'), qr/it has a document type/, 'an external entity');
refused(domain('', before => '<!DOCTYPE d [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>', name => '&b;'), qr/it has a document type/,
	'entities of entities');
refused(spew("$work/bad.xml", '<domain>' . ' ' x (1 << 20) . '</domain>'), qr/it is larger than 1048576 bytes/, 'a large file');
refused(domain('', type => 'xen'), qr/a domain of type xen for hvm, expected one of QEMU's/, 'Xen');
refused(domain('', type => 'lxc', os => 'exe'), qr/a domain of type lxc for exe/, 'a container');
refused(domain('', memory => 'much'), qr/memory: found "much", expected a number/, 'what is no number');
refused(domain('', more => '<currentMemory unit="acre">1</currentMemory>'), qr/currentMemory: found the unit "acre"/, 'an unknown unit');
refused(domain("<interface type='bridge'><source bridge='b'/><model type='e1000,x=y'/></interface>"), qr/interface: model: found "e1000,x=y", expected a word/,
	'more options than the element has');
refused(domain('', more => '<uuid>4711</uuid>'), qr/uuid: .*expected a UUID/, 'what our own parser refuses');
vmconf_fails(64, qr/"my vm" cannot be the name of a VM/, 'import', domain('', name => 'my vm'));
vmconf_fails(64, qr/another name: vmconf import .* NAME/, 'import', domain('', name => 'my vm'));
vmconf_fails(64, qr/import/, 'import');
is(files(), '', 'none of these has left anything');
{
	local $ENV{PATH} = "$work/bin";
	mkdir "$work/bin";
	vmconf_fails(1, qr/python3 is not installed \(Debian: apt install python3\)/, 'import', "$domains/cockpit.xml");
}
SKIP: {
	skip('only root must not run what others may write', 1) if $> != 0;
	mkdir($_) for "$work/own", "$work/own/import";
	run_command('cp', $ENV{T_VMCONF} || "$top/vmconf", "$work/own/vmconf");
	spew("$work/own/import/libvirt", 'raise SystemExit("it was run")');
	chmod(0777, "$work/own/import/libvirt");
	my ($status, $out, $err) = run_command("$work/own/vmconf", 'import', "$domains/cockpit.xml");
	is_deeply([$status, $out], [1, ''], 'a program that others may write');
	like($err, qr{\Avmconf: cannot execute $work/own/import/libvirt: others than its owner may write it \(chmod go-w\)\n\z}, 'is not run');
}

# ---- a guest ----

my $guest = T::guest_files();
my $disk = make_disk();
my %here = (KERNEL => "$guest/" . T::guest_kernel('normal'), INITRD => "$guest/initrd", CMDLINE => T::guest_append('normal'), DISK => $disk);
my $xml = slurp("$domains/guest.xml") =~ s/\b(@{[join '|', keys %here]})\b/$here{$1}/gr;
my ($status, undef, $err) = vmconf('import', spew("$work/guest.xml", $xml));
is($status, 0, 'a guest is imported') or diag($err);
like($err, qr/^vmconf: guest is made; its disks stay where they are, and vmconf delete will leave them$/m, 'what became of its disks');
like($err, qr/virsh shutdown guest; virsh autostart --disable guest; then: vmconf check guest$/m, 'what comes first');
like($err, qr/virsh undefine --keep-nvram guest$/m, 'and what comes last');
is((stat "$config/guest.json")[2] & 0777, 0600, 'nobody else reads the definition');
is(vmconf_does('check', 'guest'), '', 'check has nothing to say');
vmconf_fails(1, qr/a VM guest already exists/, 'import', "$work/guest.xml");
vmconf_does('set', 'guest', 'ready=listening');
like(vmconf_does('start', 'guest'), qr/guest: running/, 'it starts');
like(vmconf_does('stop', 'guest'), qr/guest: stopped: the guest powered itself off/, 'and stops');
ok(disk_is_clean($disk), 'file system clean');
vmconf_does('delete', 'guest');
ok(-s $disk, 'delete leaves the disk');
is(files(), '', 'and nothing else');

# From a pipe.
my $out = `"@{[$ENV{T_VMCONF} || "$top/vmconf"]}" import - --print <"$work/guest.xml" 2>&1`;
like($out, qr/"path": "\Q$disk\E"/, 'from standard input');

# ---- UEFI: what the firmware remembers is copied ----

my ($firmware) = grep { my $f = $_; !(grep { /smm|snp|tdx|enrolled/ } @{ $f->{features} }) && $f->{mapping}{'nvram-template'} && $f->{targets}[0]{architecture} eq 'x86_64' }
	map { JSON::PP::decode_json(slurp($_)) } glob '/usr/share/qemu/firmware/*.json';
my ($code, $template) = map { $firmware->{mapping}{$_}{filename} } 'executable', 'nvram-template';
ok($firmware && -s $template, 'there is firmware with variables');
my $variables = spew("$work/web_VARS.fd", slurp($template) =~ s/.\z/X/sr);
my $uefi = "<loader readonly='yes' type='pflash'>$code</loader><nvram template='$template'>$variables</nvram>";
vmconf_does('import', domain('', name => 'efi', boot => $uefi));
is(definition('efi')->{firmware}, 'uefi', 'UEFI');
is(slurp("$state/efi/uefi-vars.fd"), slurp($variables), 'the variables are copied');
my $command = vmconf_does('command', 'efi');
like($command, qr/\Q$code\E/, 'for the firmware that they belong to');
like($command, qr{\Q$state\E/efi/uefi-vars\.fd}, 'and used');
unlike($command, qr/web_VARS/, 'not those of libvirt\'s VM');
is(vmconf_does('check', 'efi'), '', 'check has nothing to say');
vmconf_does('delete', 'efi');
is(files(), '', 'delete removes the copy');
ok(-s $variables, 'and not the original');
like(left('', boot => "<loader readonly='yes' type='pflash'>/usr/share/other/CODE.fd</loader>"),
	qr{os/loader /usr/share/other/CODE\.fd: no descriptor of this host names it}, 'firmware that is not here');

done_testing;
