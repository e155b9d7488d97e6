#!/usr/bin/perl
# What vmconf clone and rename have on the disk when they say that they are done, and what a power cut before that leaves.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;

need('qemu-img', 'strace');
need_that('strace may trace', sub { (run_command('strace', '-o', "$work/may", 'true'))[0] == 0 });

my ($config, $state) = @ENV{qw(QEMU_SUPERVISE_CONFIG_DIR QEMU_SUPERVISE_STATE_DIR)};
$ENV{ASAN_OPTIONS} = join(':', $ENV{ASAN_OPTIONS} || (), 'detect_leaks=0');	# it cannot look for them while it is traced

sub strace {
	my ($how, @words) = @_;
	return run_command('strace', '-f', '-y', '-qq', '-o', "$work/trace", @$how, $ENV{T_VMCONF} || "$top/vmconf", @words);
}

# What vmconf and its children have synced, renamed and removed, in order. fdatasync(2) is qemu-img's, which goes on then.
sub synced {
	my ($status) = strace(['-e', 'trace=/^(fsync|rename(at2?)?|unlink(at)?)$'], @_);
	is($status, 0, "vmconf @_");
	return map { s/^\d+ +//r =~ s/\Q$work\E\///gr } grep { !/ENOENT/ } split /\n/, slurp("$work/trace");
}

# The place of the first line behind $from that matches, or the number of lines.
sub place {
	my ($lines, $from, $pattern) = @_;
	for my $i ($from .. $#$lines) {
		return $i if $lines->[$i] =~ $pattern;
	}
	fail("no line matches $pattern");
	diag(join "\n", @$lines);
	return scalar @$lines;
}

vmconf_does('create', 'web', '--disk', '64M');
mkdir "$state/web/boot";
spew("$state/web/boot/vmlinuz", 'kernel');
vmconf_does('set', 'web', 'kernel=boot/vmlinuz');

for my $how ([], ['--linked']) {
	my @lines = synced('clone', 'web', 'copy', @$how);
	my $commit = place(\@lines, 0, qr/^rename.*"copy\.json"/);
	for my $path (map { "state$_" } '/copy/root.qcow2', '/copy/boot/vmlinuz', '/copy/boot', '/copy', '') {
		cmp_ok(place(\@lines, 0, qr/^fsync\(\d+<\Q$path\E>\)/), '<', $commit, "$path reaches the disk before there is a clone");
	}
	my $list = place(\@lines, 0, qr/^rename.*"\.copy\.made\.json"/);
	like($lines[$list - 1], qr/^fsync\(\d+<state\/\.state\.new>\)/, 'the list of them is written whole');
	cmp_ok(place(\@lines, $list, qr/^fsync\(\d+<state>\)/), '<', $commit, 'and does so too');
	vmconf_does('delete', 'copy');
}

my @lines = synced('rename', 'web', 'moved');
my $move = place(\@lines, 0, qr/^rename.*<state>, "web", .*<state>, "moved"/);
my $commit = place(\@lines, $move, qr/^rename.*"moved\.json"/);
cmp_ok(place(\@lines, $move, qr/^fsync\(\d+<state>\)/), '<', $commit, 'the new directory reaches the disk before the new definition');
my $synced = place(\@lines, $commit, qr/^fsync\(\d+<config>\)/);
cmp_ok($synced, '<', place(\@lines, $commit, qr/^unlink.*\.journal\.json/), 'the new name does before the journal is forgotten');

# The new name is on the disk; that of the directory and that of the list never got there, as on file systems of their own.
my $n = grep { /^fsync/ } @lines[0 .. $commit];
strace(['-e', 'trace=fsync', '-e', 'inject=fsync:signal=KILL:when=' . ($n + 1)], 'rename', 'moved', 'again');
ok(definition('again') && !definition('moved'), 'killed behind the rename of the definition');
for my $name ('', '.') {
	my ($from, $to) = map { $name ? ".$_.made.json" : $_ } 'again', 'moved';
	rename("$state/$from", "$state/$to") or die "$state/$from: $!";
}
vmconf_does('set', 'again', 'cpus=2');
ok(-e "$state/again/root.qcow2" && !-e "$state/moved", 'the directory is renamed again');
ok(-e "$state/.again.made.json" && !-e "$state/.moved.made.json", 'and the list of what was made for it');
is(vmconf_does('check'), '', 'check says nothing');

done_testing;
