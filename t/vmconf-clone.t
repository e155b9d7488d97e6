#!/usr/bin/perl
# vmconf clone: whatever the definition names in the state directory comes along, and all that is in an image.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use JSON::PP ();
use T;

need('qemu-system-x86_64', 'qemu-img', 'qemu-io');

my ($config, $state) = @ENV{qw(QEMU_SUPERVISE_CONFIG_DIR QEMU_SUPERVISE_STATE_DIR)};
mkdir($_) for $config, $state;

sub img { return is((run_command('qemu-img', @_))[0], 0, "qemu-img @_") }

sub info {
	my ($path) = @_;
	return JSON::PP::decode_json((run_command('qemu-img', 'info', '--output=json', $path))[1]);
}

sub snapshots { return [map { $_->{name} } @{ info($_[0])->{snapshots} || [] }] }
sub bitmaps { return [map { $_->{name} } @{ info($_[0])->{'format-specific'}{data}{bitmaps} || [] }] }

# What is in the disk as it was at a snapshot.
sub at_snapshot {
	my ($path, $name) = @_;
	img('convert', '-f', 'qcow2', '-l', $name, '-O', 'raw', $path, "$work/look.raw");
	return slurp("$work/look.raw");
}

sub written { return run_command('qemu-io', '-c', "write -P $_[1] 0 64k", $_[0]) }

# One with a snapshot "before" (of ones), a bitmap "dirty" and twos in it now.
sub full_image {
	my ($path, @base) = @_;
	img('create', '-q', '-f', 'qcow2', @base, $path, @base ? () : '1M');
	written($path, 1);
	img('snapshot', '-c', 'before', $path);
	img('bitmap', '--add', $path, 'dirty');
	written($path, 2);
}

subtest 'what is in the state directory' => sub {
	my $home = "$state/a";
	vmconf_does('create', 'a', quick('--disk', '1M'));
	mkdir("$home/$_") for 'seed', 'seed/deep', 'boot';
	spew("$home/$_", "this is $_") for qw(seed.iso seed/user-data seed/deep/x boot/vmlinuz boot/initrd uefi-vars.fd hook dtb.img log);
	chmod(0755, "$home/hook");
	img('create', '-q', '-f', 'raw', "$home/$_", '1M') for 'nested.raw', 'deep.raw', 'drive.img', 'odd, name=1.img';
	img('create', '-q', '-f', 'raw', "$work/seed.iso", '64k');
	img('create', '-q', '-f', 'raw', "$work/out.raw", '64k');
	vmconf_does('set', 'a', 'kernel=boot/vmlinuz', "initrd=$home/boot/initrd", "on.PWR=run:$home/hook 5s, quit 5s, kill");
	my $definition = definition('a');
	push @{ $definition->{disks} }, (
		{ path => "$work/seed.iso", format => 'raw' },
		{ path => 'seed.iso', format => 'raw', 'read-only' => JSON::PP::true },
		{ path => "$work/out.raw", format => 'raw', 'read-only' => JSON::PP::true },
		{ format => 'raw', file => { driver => 'file', filename => 'nested.raw' } },
		{ format => 'raw', file => { driver => 'raw', file => { driver => 'file', filename => "$home/deep.raw" } } },
		{ format => 'vvfat', dir => "$home/seed", 'read-only' => JSON::PP::true },
		{ path => "$home/odd, name=1.img", format => 'raw' },
	);
	push @{ $definition->{args} }, '-drive', "file=$home/drive.img,format=raw,if=none,id=x", '-drive', 'file=dtb.img,format=raw,if=none,id=y', '-D', 'log',
		'-serial', "file:$home/serial.txt";
	spew("$config/a.json", JSON::PP::encode_json($definition));
	is(vmconf_does('check', 'a'), '', 'a good one');
	my ($status, undef, $err) = vmconf('clone', 'a', 'b');
	is($status, 0, 'cloned') or diag($err);
	is($err, "vmconf: b is a clone of a; next: vmconf start b\n", 'and what comes next');
	my $b = definition('b');
	for my $file (qw(seed.iso seed/user-data seed/deep/x boot/vmlinuz boot/initrd uefi-vars.fd hook dtb.img)) {
		is(slurp("$state/b/$file"), "this is $file", "$file is copied");
	}
	ok(-x "$state/b/hook", 'a program is one');
	ok(!-e "$state/b/log", 'the log is not meant');
	ok(-e "$state/b/$_", "$_ is copied") for 'nested.raw', 'deep.raw', 'drive.img', 'odd, name=1.img';
	my %place = map { $_ => $b->{disks}[$_]{path} } 1, 2, 3, 7;
	is_deeply(\%place, { 1 => '2-seed.iso', 2 => 'seed.iso', 3 => "$work/out.raw", 7 => 'odd, name=1.img' }, 'paths: what comes from elsewhere gives way');
	is(-s "$state/b/2-seed.iso", 65536, 'and is the right one');
	unlike(slurp("$config/b.json"), qr/\Q$home\E\//, 'nothing in the clone names a file of the other VM');
	is($b->{disks}[5]{file}{file}{filename}, "$state/b/deep.raw", 'deep in a node');
	is($b->{on}{PWR}, "run:$state/b/hook 5s, quit 5s, kill", 'a program of a ladder');
	ok((grep { $_ eq "file:$state/b/serial.txt" } @{ $b->{args} }), 'what is not there yet is not shared, either');
	is(vmconf_does('check'), '', 'check says nothing');
	vmconf_does('set', 'b', 'kernel=', 'initrd=');	# they are none
	my $s = running(vm => 'b');
	$s->signal('QUIT');
	$s->ends_with(0, qr/no guest was running/, 'b starts');
	vmconf_does('delete', 'b');
	ok(!-e "$state/b/hook" && !-e "$state/b/seed", 'delete knows what was made');

	vmconf_does('clone', 'a', 'l', '--linked');
	is(info("$state/l/root.qcow2")->{'backing-filename'}, "$home/root.qcow2", 'linked: an overlay');
	is(info("$state/l/nested.raw")->{'format'}, 'qcow2', 'of a nested one, too');
	is(slurp("$state/l/seed.iso"), 'this is seed.iso', 'and what is only read is copied');
};

# In whatever order the files of a tree were found: this one names only what is furthest down.
subtest 'directories within directories' => sub {
	vmconf_does('create', 'n', quick('--disk', '1M'));
	mkdir("$state/n/$_") for qw(seed seed/deep seed/deep/down);
	spew("$state/n/seed/deep/down/x", 'x');
	my $definition = definition('n');
	push @{ $definition->{disks} }, { format => 'vvfat', dir => "$state/n/seed", 'read-only' => JSON::PP::true };
	spew("$config/n.json", JSON::PP::encode_json($definition));
	vmconf_does('clone', 'n', 'm');
	is(slurp("$state/m/seed/deep/down/x"), 'x', 'copied');
	vmconf_does('delete', 'm');
	ok(!-e "$state/m", 'nothing is left');
};

subtest 'snapshots and bitmaps' => sub {
	vmconf_does('create', 'c', quick('--disk', '1M'));
	full_image("$state/c/root.qcow2");
	my ($status, undef, $err) = vmconf('clone', 'c', 'd', '-q');
	is("$status $err", '0 ', 'cloned, and nothing is said');
	my $copy = "$state/d/root.qcow2";
	is_deeply(snapshots($copy), ['before'], 'the snapshot');
	is_deeply(bitmaps($copy), ['dirty'], 'the bitmap');
	ok(at_snapshot($copy, 'before') eq "\1" x 65536 . "\0" x (1048576 - 65536), 'what is in the snapshot');
	is((run_command('qemu-img', 'compare', "$state/c/root.qcow2", $copy))[0], 0, 'and in the disk');

	($status, undef, $err) = vmconf('clone', 'c', 'linked', '--linked');
	is($status, 0, 'linked');
	like($err, qr/c\/root\.qcow2: the overlay does not have its internal snapshots and bitmaps \(before, dirty\)/, 'what stays there is told');
};

subtest 'a disk that is based on another' => sub {
	img('create', '-q', '-f', 'raw', "$work/base.raw", '1M');
	vmconf_does('create', 'e', quick('--image', "$work/base.raw"));
	my $disk = "$state/e/root.qcow2";
	img('bitmap', '--add', $disk, 'dirty');
	vmconf_does('clone', 'e', 'f');
	is_deeply(bitmaps("$state/f/root.qcow2"), ['dirty'], 'its bitmap');
	ok(!info("$state/f/root.qcow2")->{'backing-filename'}, 'the copy stands alone');
	written($disk, 1);
	img('snapshot', '-c', 'before', $disk);
	vmconf_fails(1, qr/e cannot be cloned: its disk \Q$disk\E is based on \S+base\.raw, and a copy .* snapshots \(before\).*--drop-snapshots/, 'clone', 'e', 'g');
	ok(!definition('g') && !-e "$state/g", 'nothing is made');
	my ($status, undef, $err) = vmconf('clone', 'e', 'g', '--drop-snapshots');
	is($status, 0, 'as was asked for');
	like($err, qr/the copy will not have its internal snapshots: before/, 'it says so');
	is_deeply(bitmaps("$state/g/root.qcow2"), ['dirty'], 'the bitmap is there');
	is((run_command('qemu-img', 'compare', $disk, "$state/g/root.qcow2"))[0], 0, 'and the data');
};

subtest 'a disk that is in use' => sub {
	for my $format ('qcow2', 'raw') {
		my $name = "used-$format";
		vmconf_does('create', $name, quick('--set', qq(disks=[{"path": "d.$format", "format": "$format"}])));
		mkdir("$state/$name");
		img('create', '-q', '-f', $format, "$state/$name/d.$format", '1M');
		my $s = running(name => 'other', command => ['qemu-system-x86_64', '-S', '-nodefaults', '-accel', 'tcg', '-m', 64, '-display', 'none',
			'-drive', "file=$state/$name/d.$format,format=$format,if=virtio"]);
		vmconf_fails(1, qr/in use|Failed to get shared "write" lock/, 'clone', $name, 'copy');
		ok(!definition('copy') && !-e "$state/copy", 'nothing is made');
		$s->signal('QUIT');
		$s->end;
	}
};

done_testing;
