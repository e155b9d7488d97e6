#!/usr/bin/perl
# Whose files are whose: what another user may have written is not believed, and no link of his is followed; who may read a
# definition may read its clone, and nobody else.
use strict;
use warnings;
use FindBin;
use JSON::PP ();
use lib $FindBin::Bin;
use POSIX ();
use T;

need('qemu-img');

my ($config, $state) = @ENV{qw(QEMU_SUPERVISE_CONFIG_DIR QEMU_SUPERVISE_STATE_DIR)};

sub mode { return sprintf('%04o', (stat $_[0])[2] & 07777) }

subtest 'who may read a definition' => sub {
	my $umask = umask(0);
	vmconf_does('create', 'web', '--disk', '1M');
	umask($umask);
	is(mode("$config/web.json"), '0600', 'nobody else, when it is made');
	for my $mode ('0600', '0640', '0644') {
		chmod(oct $mode, "$config/web.json");
		vmconf_does('set', 'web', 'cpus=2');
		vmconf_does('clone', 'web', 'copy');
		vmconf_does('rename', 'web', 'moved');
		is(mode("$config/moved.json"), $mode, "rename keeps mode $mode");
		is(mode("$config/copy.json"), $mode, 'so does clone');
		vmconf_does('rename', 'moved', 'web');
		vmconf_does('delete', 'copy');
	}
	spew("$config/hand.json", '{"nics": [{"type": "user"}]}');
	chmod(0600, "$config/hand.json");
	vmconf_does('rename', 'hand', 'foot');
	is(mode("$config/foot.json"), '0600', 'also where rename writes something down');
	SKIP: {
		skip('not root', 1) if $> != 0;
		chmod(0640, "$config/web.json");
		chown(-1, 12345, "$config/web.json");
		vmconf_does('set', 'web', 'cpus=3');
		is((stat "$config/web.json")[5], 12345, 'set keeps the group');
		vmconf_does('clone', 'web', 'copy');
		is((stat "$config/copy.json")[5], 12345, 'and so does clone');
		vmconf_does('delete', 'copy');
	}
	SKIP: {
		# rw-, uid 12345 r--, group ---, mask r--, others ---; as setfacl(1) would write it
		my $acl = pack('V (vvV)5', 2, 1, 6, ~0, 2, 4, 12345, 4, 0, ~0, 16, 4, ~0, 32, 0, ~0);
		my ($file, $key, $now) = ("$config/web.json", 'system.posix_acl_access', "\0" x 64);
		skip('no x86_64, or no ACLs here', 1) if (POSIX::uname())[4] ne 'x86_64' || syscall(188, $file, $key, $acl, length $acl, 0) != 0;
		vmconf_does('set', 'web', 'cpus=4');
		is(syscall(191, $file, $key, $now, length $now), length $acl, 'set keeps an access control list');
		is(unpack('H*', substr($now, 0, length $acl)), unpack('H*', $acl), 'as it is');
	}
	vmconf_does('delete', 'foot', 'web');
};

subtest 'a state directory that is a link' => sub {
	mkdir "$work/big";
	for my $name (qw(link with-more)) {
		mkdir "$work/big/$name";
		symlink("$work/big/$name", "$state/$name");
		vmconf_does('create', $name, '--disk', '1M');
	}
	ok(-e "$work/big/link/root.qcow2", 'the disk is where it leads');
	vmconf_does('rename', 'link', 'other');
	ok(-e "$state/other/root.qcow2" && !-l "$state/link", 'a rename renames the link');
	my ($status, undef, $err) = vmconf('delete', 'other');
	is($status, 0, 'a delete succeeds');
	like($err, qr/the state directory of other was a link: \Q$work\E\/big\/link is left, empty/, 'and tells what is left');
	ok(!-l "$state/other" && -d "$work/big/link", 'which is the directory');
	spew("$work/big/with-more/notes", '');
	($status, undef, $err) = vmconf('delete', 'with-more');
	is($status, 0, 'so does one with more in it');
	like($err, qr/left in \Q$state\E\/with-more: notes/, 'which is told');
	ok(-l "$state/with-more" && -e "$work/big/with-more/notes", 'and stays');

	symlink("$work/big/link", "$state/away");
	vmconf_does('create', 'away', '--disk', '1M');
	rename("$work/big", "$work/unmounted");
	vmconf_fails(1, qr/away cannot be deleted: cannot follow the link \S+\/away; .*: No such file/, 'delete', 'away');
	ok(definition('away'), 'one on a disk that is not mounted stays');
	rename("$work/unmounted", "$work/big");
	vmconf_does('delete', 'away');
	ok(!-e "$work/big/link/root.qcow2" && !-l "$state/away", 'its disk, too');
};

SKIP: {
	skip('not root', 1) if $> != 0;
	subtest 'a state directory of another user' => sub {
		spew("$work/precious", 'x');
		mkdir "$work/dir";
		spew("$work/dir/vmlinuz", 'x');
		vmconf_does('create', 'web', '--disk', '1M');
		mkdir "$state/web/boot";
		spew("$state/web/boot/vmlinuz", 'kernel');
		vmconf_does('set', 'web', 'kernel=boot/vmlinuz');
		vmconf_does('clone', 'web', 'copy');
		ok(-e "$state/copy/boot/vmlinuz", 'a VM with a file that was made in a directory below');
		system("chown -R 12345 $state/web $state/copy");
		is(vmconf_does('check', 'web'), '', 'check says nothing');

		# What he makes of it.
		system("rm -r $state/copy/boot");
		symlink("$work/dir", "$state/copy/boot");
		spew("$state/copy/made.json", '{"files": ["precious", "boot/vmlinuz", "root.qcow2"]}');
		spew("$state/copy/precious", 'his');
		system("chown -R -h 12345 $state/copy");
		my ($status, undef, $err) = vmconf('delete', 'copy');
		is($status, 0, 'the VM can be deleted');
		is(slurp("$work/dir/vmlinuz"), 'x', 'a link on the way is not followed');
		ok(!-e "$state/copy/root.qcow2", 'what was made is removed');
		like($err, qr/left in \S+copy: (?=.*boot)(?=.*precious)/, 'the rest is told');
		is(slurp("$state/copy/precious"), 'his', 'his own list is not believed');

		unlink("$state/.web.made.json");
		spew("$state/web/made.json", '{"files": ["root.qcow2"]}');
		chown(12345, -1, "$state/web/made.json");
		($status, undef, $err) = vmconf('delete', 'web');
		is($status, 0, 'nor is it where there is no other');
		like($err, qr/what was made for web is left where it is: the list of it is not believed: \S+\/web\/made\.json: found/, 'and it is told');
		ok(-e "$state/web/root.qcow2", 'what was made is left');

		mkdir "$state/his";
		symlink("$work/precious", "$state/his/root.qcow2.not-yet");
		chown(12345, -1, "$state/his");
		vmconf_fails(1, qr/\/his: found a directory of uid 12345, expected/, 'create', 'his', '--disk', '1M');
		is(slurp("$work/precious"), 'x', 'nothing is made where he can put links');
	};

	# A QEMU that is not root and not confined may replace its own files, such as its disk: by one of another VM.
	subtest 'a disk that has become a link' => sub {
		my $fake = T::fake_definition("$work/qemu-links", T::fake_qemu());
		vmconf_does('create', 'victim', '--disk', '1M',);
		vmconf_does('create', 'links', '--disk', '1M', '--set', "emulator=$fake->{emulator}", '--set', 'confine=false');
		my ($disk) = map { "$state/links/$_->{path}" } @{ definition('links')->{disks} };
		rename($disk, "$disk.was");
		my $theirs = (glob "$state/victim/root.*")[0];
		for my $owner (12345, 0) {
			symlink($theirs, $disk) or die $!;
			system('chown', '-h', $owner, $disk);
			my $refused = sub { qr/links cannot be $_[0]: \Q$disk\E is a symbolic link that uid 12345 has put there/ };
			if ($owner) {
				my $s = supervise(vm => 'links');
				is($s->end, 78, 'it is not started') or diag($s->log);
				like($s->log, $refused->('started'), 'and the log says why');
				vmconf_fails(1, $refused->('grown'), 'grow', 'links', '+1M');
				vmconf_fails(1, $refused->('cloned'), 'clone', 'links', 'stolen');
				ok(!-e "$state/stolen", 'nothing is copied');
			} else {
				unlike(join('', vmconf('grow', 'links', '+1M')), qr/symbolic/, "root's own is followed");
			}
			unlink($disk);
		}
		rename("$disk.was", $disk);
		symlink("$work/precious", "$state/links/known_hosts") or die $!;
		system('chown', '-h', 12345, "$state/links/known_hosts");
		vmconf_fails(1, qr/known_hosts is a symbolic link that uid 12345 has put there/, 'ssh', 'links');
		# Variables of UEFI likewise.
		my $descriptors = "$work/xdg/qemu/firmware";
		system('mkdir', '-p', $descriptors);
		my %file = map { $_ => { filename => spew("$work/$_.fd", $_ x 64), format => 'raw' } } 'code', 'vars';
		spew("$descriptors/00.json", JSON::PP::encode_json({ 'interface-types' => ['uefi'], features => [], tags => [],
			mapping => { device => 'flash', executable => $file{code}, 'nvram-template' => $file{vars} },
			targets => [{ architecture => 'x86_64', machines => ['pc-q35-*'] }] }));
		local $ENV{XDG_CONFIG_HOME} = "$work/xdg";
		vmconf_does('set', 'links', 'firmware=uefi', 'machine=q35');
		$theirs = spew("$work/their.fd", 'v' x (-s "$work/vars.fd"));
		symlink($theirs, "$state/links/uefi-vars.fd") or die $!;
		system('chown', '-h', 12345, "$state/links/uefi-vars.fd");
		my $s = supervise(vm => 'links');
		isnt($s->end, 0, 'nor is it with such variables of its firmware');
		like($s->log, qr{uefi-vars\.fd is a symbolic link that uid 12345 has put there}, 'and the log says why');
	};
}

done_testing;
