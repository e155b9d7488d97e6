#!/usr/bin/perl
# The commands of doc/systemd.md, doc/laptop.md and, as far as they need no UPS, of doc/ups.md, typed in their order as they stand there, on a
# host with systemd. What is special about it is in defaults.json (the guest) and in a drop-in (QEMU of web.service has no KVM).
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use JSON::PP ();
use Nspawn;
use T;

Nspawn::need_host();
need(qw(qemu-img script));
local $ENV{SYSTEMD_NSPAWN_UNIFIED_HIERARCHY} = 1;
my $h = Nspawn->new;
mkdir("$work/$_") for qw(state/images srv/bin units/user@.service.d);
my $guest = T::guest_definition('normal', console => '');
spew("$work/config/defaults.json", JSON::PP->new->canonical->pretty->encode({
	(map { $_ => $guest->{$_} } qw(machine accel append)), memory => '128M', ready => 'listening',
	kernel => '/guest/vmlinuz', initrd => '/guest/initrd-agent'
}));
make_disk("$work/disk.raw");
is((run_command('qemu-img', 'convert', '-O', 'qcow2', "$work/disk.raw", "$work/$_"))[0], 0, $_) for 'state/images/debian12.qcow2', 'srv/web.qcow2';
chmod(0755, spew("$work/srv/bin/qemu-system-x86_64", <<'QEMU' =~ s/APPEND/$guest->{append}/r));
#!/usr/bin/perl
exec { '/usr/bin/qemu-system-x86_64' } 'qemu-system-x86_64', map({ s/^kvm$/tcg/r } @ARGV),
	qw(-machine q35 -kernel /guest/vmlinuz -initrd /guest/initrd -append), 'APPEND';
QEMU
mkdir("$work/units/web.service.d");
spew("$work/units/web.service.d/host.conf", "[Service]\nEnvironment=PATH=/srv/bin:/usr/local/bin:/usr/bin\n");
# Newer ones of systemctl give the line, too, at which to begin.
spew("$work/srv/editor", "#!/bin/sh\nfor file; do :; done\nsed -i '/^### Anything between/a [Service]\\nCPUAffinity=0' \"\$file\"\n");
chmod(0755, "$work/srv/editor");
$h->boot;
$h->ok_does('sh', '-c', 'groupadd --force --system kvm && useradd --create-home --uid 2000 ann && loginctl enable-linger ann');

# The commands of a page in their order, each with its prompt.
sub commands {
	my ($page) = @_;
	my $text = slurp("$work/installed/usr/local/share/doc/qemu-supervise/$page.md");
	my @all;
	push @all, [$1, $2] while $text =~ /^    ([#\$]) ((?:.*\\\n)*.*)$/mg;
	return @all;
}

my $directory = '/';
my @ann = qw(runuser -u ann -- env HOME=/home/ann XDG_RUNTIME_DIR=/run/user/2000);

# Types it, as root (#) or as ann ($): what was said.
sub typed {
	my ($prompt, $command) = @_;
	my ($status, $out, $err) = $h->does($prompt eq '#' ? ('env', 'HOME=/root', 'SYSTEMD_EDITOR=/srv/editor') : @ann,
		'bash', '-c', 'cd "$1" && { eval "$2"; status=$?; pwd >&3; exit $status; } 3>/tmp/pwd', 'bash', $directory,
		$command =~ /^systemctl edit/ ? "script -qec '" . $command =~ s/ +#.*//r . "' /dev/null" : $command);
	$directory = ($h->does('cat', '/tmp/pwd'))[1] =~ s/\n//r;
	$h->does('rm', '-f', '/tmp/pwd');
	is($status, 0, $command) or diag($out, $err, $h->journal);
	return $out;
}

sub follow {
	my ($page, %see) = @_;
	$directory = '/';
	for my $row (commands($page)) {
		my $out = typed(@$row);
		for (grep { index($row->[1], $_) == 0 } keys %see) {
			like($out, delete $see{$_}, "$_: what one sees");
		}
	}
	is_deeply([keys %see], [], "$page: nothing to be seen was missing");
}

subtest 'doc/systemd.md' => sub {
	$h->ok_does('vmconf', 'create', 'db', '--image', 'debian12');
	follow('systemd',
		'vmconf log web' => qr/the guest powered itself off/, 'vmconf history web' => qr/TERM from pid 1 .*: the guest powered itself off/,
		'systemctl status web' => qr/Status: "Guest: running"/,
		'systemd-analyze security' => qr/Overall exposure level for qemu-supervise\@web.service: 3.5/);
	is(($h->does('systemctl', 'is-failed', 'web'))[1], "inactive\n", 'web.service ended well');
	like($h->ok_does('systemctl', 'cat', 'qemu-supervise@web'), qr/^CPUAffinity=0\n(.*\n)?SystemCallFilter=chroot$/ms, 'the unit has both drop-ins');
	$h->ok_does('vmconf', 'start', 'web');
	$h->ok_does('vmconf', 'stop', 'web');
};

subtest 'doc/laptop.md' => sub {
	$h->ok_does(@ann, 'install', '-d', map { "/home/ann/$_" } '.config/qemu-supervise', '.local/share/qemu-supervise/images');
	$h->ok_does('install', '-o', 'ann', '/etc/qemu-supervise/defaults.json', '/home/ann/.config/qemu-supervise');
	$h->ok_does('install', '-o', 'ann', '/var/lib/qemu-supervise/images/debian12.qcow2', '/home/ann/.local/share/qemu-supervise/images');
	wait_until("ann's systemd", sub { ($h->does(@ann, 'systemctl', '--user', 'is-system-running'))[1] =~ /^(running|degraded)$/ });
	follow('laptop', 'systemctl --user status' => qr/Status: "Guest: running"/);
	is($h->ok_does('systemctl', 'show', '--value', '-p', 'TimeoutStopUSec', 'user@2000'), "infinity\n", "ann's session may take its time");
	like($h->ok_does(@ann, 'vmconf', 'stop', 'lab'), qr/^lab: stopped: the guest powered itself off/, 'lab');
};

subtest 'doc/ups.md' => sub {
	$h->ok_does('vmconf', 'create', 'build', '--image', 'debian12');
	$h->ok_does('vmconf', 'start', 'build', 'db');
	$directory = '/';
	my ($db, $build, $rehearse, $stop) = grep { $_->[1] =~ /^vmconf/ } commands('ups');
	typed(@$_) for $db, $build;
	my ($status, $out) = $h->does('bash', '-c', $rehearse->[1]);
	like($out, qr/^ *10 +build .*^ *-10 +db /ms, 'a rehearsal: db is the last one');
	is($status, $out =~ /^not all would be down within 90s/m ? 1 : 0, 'and its status says whether any would be cut') or diag($out);
	like(typed(@$stop), qr/^build: stopped: .*^db: stopped: the guest powered itself off/ms, 'as it comes true');
};

$h->poweroff;

done_testing;
