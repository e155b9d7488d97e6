# The system user qemu-supervise, for a test of root's alone: `use SystemUser;` before T runs the test again with an /etc/passwd and
# an /etc/group of its own, which only it sees. It is in the group kvm, as sysusers.d has it.
package SystemUser;

use strict;
use warnings;
use File::Temp ();

our $name = 'qemu-supervise';
our $uid = 64999;

sub copy {
	my ($file, $dir, $line) = @_;
	open(my $in, '<', "/etc/$file") or die "/etc/$file: $!";
	open(my $out, '>', "$dir/$file") or die "$dir/$file: $!";
	print $out grep({ !/^\Q$name\E:/ } <$in>), $line;
	close($out) or die "$dir/$file: $!";
	chmod(0644, "$dir/$file");
}

sub import {
	return if $> != 0 || $^C || $ENV{T_SYSTEM_USER};
	my $dir = File::Temp::tempdir("qs-user-XXXXXXXX", TMPDIR => 1);
	copy('passwd', $dir, "$name:x:$uid:${uid}::/nonexistent:/usr/sbin/nologin\n");
	copy('group', $dir, "$name:x:$uid:\n");
	$ENV{T_SYSTEM_USER} = $dir;
	exec('unshare', '-m', '--propagation', 'private', 'sh', '-c',
		'for f in passwd group; do mount --bind "$T_SYSTEM_USER/$f" "/etc/$f" || exit 1; done; exec "$@"',
		'sh', $^X, $0, @ARGV) or die "unshare: $!";
}

my $self = $$;

END {
	unlink(map { "$ENV{T_SYSTEM_USER}/$_" } qw(passwd group)) && rmdir($ENV{T_SYSTEM_USER}) if $ENV{T_SYSTEM_USER} && $$ == $self;
}

1;
