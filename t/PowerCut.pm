# Power cuts: record() writes down what a program does to the files below a directory, from its system calls, and states()
# makes of that each state in which a power cut may leave the disk.
#
# The model is that of ext4 with data=ordered and of XFS, a little stricter than either:
#
# - The directories of definitions and of disks are file systems of their own, with a journal each: /etc and /var/lib may be.
#   So may be a VM's directory, if the caller says so. What a cut may leave on one file system it may leave on two, too.
# - Operations on names, modes, explicit sizes and times are in the journal in their order. A cut leaves all up to some
#   point, and none after it; no point earlier than what was synced. fsync(2) of a file or a directory brings the journal to
#   the disk up to the last operation on it, fdatasync(2) up to the last that changed a size, syncfs(2) and sync(2) all.
# - Data are not in the journal. Written and not synced, they are there, or not, or only the first half of them or only the
#   second, or the file has its new size and zeros in it: of each file independently, and whatever its name is. A file that
#   was renamed over another may be empty: what ext4 does about that (auto_da_alloc) is not relied upon.
# - What is written in place, over what a file had, is there or not, each sector of 512 bytes as a whole.
# - A call that has returned, and an fsync that has not, may both be lost; what was synced is not.
# - What a child does while the program does not wait for it may come earlier or later than in the recording: each order
#   counts, the one recorded, the child's first and the child's last.
#
# Not in it: disks that lose what was flushed, sectors torn in the journal, file systems without one (ext2, vfat) or whose fsync
# leaves other files' operations behind (btrfs); owners, ACLs and extended attributes; mmap(2).
package PowerCut;

use strict;
use warnings;
use Cwd qw(getcwd);
use Digest::MD5 qw(md5_hex);
use Exporter qw(import);
use Fcntl qw(S_ISDIR S_ISLNK S_IMODE);
use List::Util qw(max);
use T qw(run_command slurp spew $work);

our @EXPORT_OK = qw(text);

my @traced = qw(
	open openat creat lseek write pwrite64 writev pwritev pwritev2 copy_file_range sendfile ioctl truncate ftruncate fallocate
	rename renameat renameat2 link linkat symlink symlinkat unlink unlinkat mkdir mkdirat rmdir chmod fchmod fchmodat
	fsync fdatasync syncfs sync umask clone clone3 fork vfork wait4 waitid
);

# ---- what both tests need ----

# An emulator that takes anything, at once: check asks it. Returns its path.
sub emulator {
	my ($path) = @_;
	spew($path, <<'SH');
#!/bin/sh
echo '{"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": ""}, "capabilities": []}}'
while read -r line; do
	case $line in
	*query-machines*) result='[{"name": "q35"}]' ;;
	*device-list-properties*) result='[{"name": "drive"}, {"name": "id"}, {"name": "bootindex"}, {"name": "bus"}, {"name": "chardev"}, {"name": "name"}]' ;;
	*) result='[]' ;;
	esac
	id=${line##*\"id\":}
	echo "{\"return\": $result, \"id\": ${id%%[,\}]*}}"
done
SH
	chmod(0755, $path);
	return $path;
}

# A tree as text, without what says nothing: locks that nobody holds.
sub text {
	my ($tree) = @_;
	return join '', map { my ($kind, $mode, $content) = @{ $tree->{$_} }; sprintf("%s %s %04o %s\n", $_, $kind, $mode, $content) }
		grep { !/\/\.lock$/ && !(/\/vm\.lock$/ && $tree->{$_}[2] eq '') } sort keys %$tree;
}

# ---- trees on the disk ----

# Everything below a directory: path => [kind, mode, content, time]. The content of a directory is ''.
sub tree {
	my ($top) = @_;
	my %found;
	my @left = ('');
	while (defined(my $dir = shift @left)) {
		opendir(my $handle, "$top$dir") or die "$top$dir: $!";
		for my $name (grep { !/^\.\.?$/ } readdir $handle) {
			my $path = "$dir/$name";
			my ($mode, $time) = (lstat "$top$path")[2, 9];
			push @left, $path if S_ISDIR($mode);
			$found{$path} = S_ISDIR($mode) ? ['directory', S_IMODE($mode), '', $time]
				: S_ISLNK($mode) ? ['link', 0777, readlink("$top$path"), $time]
				: ['file', S_IMODE($mode), slurp("$top$path"), $time];
		}
	}
	return \%found;
}

# Makes the directory what the tree is. Files: path => a file that is to be linked there.
sub make_tree {
	my ($top, $tree, $files) = @_;
	my $before = tree($top);
	$before->{$_}[0] eq 'directory' ? rmdir("$top$_") : unlink("$top$_") for reverse sort keys %$before;
	for my $path (sort keys %$tree) {
		my ($kind, $mode, $content, $time) = @{ $tree->{$path} };
		if ($kind eq 'directory') {
			mkdir("$top$path") or die "$path: $!";
		} elsif ($kind eq 'link') {
			symlink($content, "$top$path") or die "$path: $!";
			next;
		} elsif ($files->{$path}) {
			link($files->{$path}, "$top$path") or die "$path: $!";
			next;
		} else {
			my $inode = (stat "$top/config")[1] // 0;
			$content =~ s/("inode": )INODE/$1$inode/;
			open(my $file, '>:raw', "$top$path") or die "$path: $!";
			syswrite($file, $content) if length $content;
			close($file);
		}
		chmod($mode, "$top$path");
		utime($time, $time, "$top$path");
	}
}

# ---- reading what strace writes ----

sub text_of { return $_[0] =~ s/\\x(..)/chr hex $1/ger }

# The calls that did something, in the order in which they returned: {pid, name, args, result, line, begun}.
sub calls {
	my ($file) = @_;
	my (@calls, %begun);
	my $n = 0;
	open(my $in, '<', $file) or die "$file: $!";
	while (my $line = <$in>) {
		$n++;
		if ($line =~ /^(\d+) +(\w+)\((.*) <unfinished \.\.\.>$/) {
			$begun{$1} = { name => $2, args => $3, begun => $n };
		} elsif ($line =~ /^(\d+) +<\.\.\. \w+ resumed>(.*)\) += (\d+|0x)/) {
			my $call = delete $begun{$1} or next;
			push @calls, { %$call, pid => $1, args => $call->{args} . $2, result => $3, line => $n };
		} elsif ($line =~ /^(\d+) +(\w+)\((.*)\) += (\d+)/) {
			push @calls, { pid => $1, name => $2, args => $3, result => $4, line => $n, begun => $n };
		}
	}
	return @calls;
}

# A path of a call: a descriptor and a name below it, or a name alone.
sub path_at {
	my ($descriptor, $name) = @_;
	my ($dir) = ($descriptor // '') =~ /<(.*)>/;
	$dir = defined $dir ? text_of($dir) : getcwd();
	$name = text_of($name =~ s/^"(.*)"$/$1/r);
	my $path = $name =~ /^\// ? $name : "$dir/$name";
	1 while $path =~ s/\/\.?(?=\/|$)//;
	return $path;
}

sub path_of_fd {
	my ($arg) = @_;
	return undef if $arg =~ /\(deleted\)/;
	return $arg =~ /<(.*)>/ ? text_of($1) : undef;
}

# ---- the recording ----

my $recordings = 0;

# Whether the command writes to disks that were there: they are then made anew for each state.
our $writes_disks = 0;

# Runs a command and records it. Mounted: the path of another file system below the top, or undef. Returns the recording: {status,
# errors, before, after (trees), events, ...}.
sub record {
	my ($top, $mounted, @command) = @_;
	my $r = bless { n => $recordings++, top => $top, mounted => $mounted, before => tree($top), id => 0, events => [], inode => {},
		config => scalar((stat "$top/config")[1]) }, __PACKAGE__;
	$r->{began} = max(time, map { $_->[3] } values %{ $r->{before} });
	my @strace = ('strace', '-f', '-y', '-qq', '-xx', '-s', 1 << 24, '-o', "$work/cut", '-e', 'trace=' . join(',', map { "?$_" } @traced),
		'-e', 'signal=none');
	$r->keep_disks;
	@$r{qw(status out errors)} = run_command(@strace, @command);
	$r->{after} = tree($top);
	$r->{config} //= (stat "$top/config")[1];
	$r->take_before;
	$r->take_calls(calls("$work/cut"));
	$r->{unlike} = $r->differences;
	return $r;
}

# Disks that nobody touches stay the same inodes, which other disks are based on.
sub keep_disks {
	my ($r) = @_;
	mkdir("$r->{top}.kept.$r->{n}");
	return if $writes_disks;
	for my $path (grep { /\.(?:qcow2|raw)$/ } keys %{ $r->{before} }) {
		my $kept = "$r->{top}.kept.$r->{n}/" . $path =~ tr/\//_/r;
		link("$r->{top}$path", $kept) or die "$path: $!";
		$r->{kept}{$path} = $kept;
	}
}

# Where what was recorded does not lead to what there is: something was overlooked.
sub differences {
	my ($r) = @_;
	my ($states) = $r->states([@{ $r->{events} }, { kind => 'begin', sync => -1, whole => 1 }, { kind => 'end', sync => -1, whole => 1 }]);
	my ($end) = grep { $_->{final} } values %$states;
	my ($made, $is) = ($end->{tree}, $r->{after});
	return join ' ', grep { !$made->{$_} || !$is->{$_} || "@{ $made->{$_} }[0 .. 2]" ne "@{ $is->{$_} }[0 .. 2]" }
		sort keys %{ { %$made, %$is } };
}

sub new_inode {
	my ($r, $kind, $mode, $content, $time) = @_;
	my $id = $r->{id}++;
	$r->{inode}{$id} = { id => $id, kind => $kind, mode => $mode, content => $content, time => $time, ops => [], at => 0, written => 0 };
	return $r->{inode}{$id};
}

# What was there: its inodes, and the entries of its directories.
sub take_before {
	my ($r) = @_;
	my $top = $r->new_inode('directory', 0755, '');
	$r->{entries} = { $top->{id} => {} };
	for my $path (sort keys %{ $r->{before} }) {
		my ($parent, $name) = $r->place("$r->{top}$path");
		my $inode = $r->new_inode(@{ $r->{before}{$path} });
		$r->{entries}{$parent}{$name} = $inode->{id};
		$r->{entries}{ $inode->{id} } = {} if $inode->{kind} eq 'directory';
	}
	$r->{kept_inodes} = { map { $r->inode_at("$r->{top}$_")->{id} => $r->{kept}{$_} } keys %{ $r->{kept} } };
	$r->{entries_before} = copy_entries($r->{entries});
	$r->{inodes_before} = $r->{id};
}

sub copy_entries {
	my ($entries) = @_;
	return { map { $_ => { %{ $entries->{$_} } } } keys %$entries };
}

# The directory's inode and the name in it; empty if that is none of ours.
sub place {
	my ($r, $path) = @_;
	return if index($path, "$r->{top}/") != 0;
	my @parts = split /\//, substr($path, length($r->{top}) + 1);
	my $name = pop @parts;
	my $dir = 0;
	for my $part (@parts) {
		$dir = $r->{entries}{$dir}{$part};
		return if !defined $dir || !$r->{entries}{$dir};
	}
	return ($dir, $name);
}

sub inode_at {
	my ($r, $path) = @_;
	return undef if !defined $path;
	return $r->{inode}{0} if $path eq $r->{top};
	my ($dir, $name) = $r->place($path) or return undef;
	my $id = $r->{entries}{$dir}{$name};
	return defined $id ? $r->{inode}{$id} : undef;
}

# The file system that has the name of a path.
sub domain {
	my ($r, $path) = @_;
	return 'mounted' if $r->{mounted} && index($path, "$r->{top}$r->{mounted}/") == 0;
	return $path =~ /^\Q$r->{top}\E\/config(?:\/|$)/ ? 'config' : 'state';
}

# ---- its events ----
# {kind => 'meta', domain, what => [...], of => [inodes that it changes], size => whether it changes a size}
# {kind => 'data', inode, n (of those of that inode)}
# {kind => 'begin' or 'end', sync => N}: a sync; {inode, whole, data}

sub meta {
	my ($r, $path, $of, @what) = @_;
	my $event = { kind => 'meta', domain => $r->domain($path), of => $of, what => \@what, size => $what[0] ne 'time' && $what[0] ne 'mode',
		text => join(' ', $what[0], $path =~ s/^\Q$r->{top}\E\///r) };
	push @{ $r->{events} }, $event;
	return $event;
}

sub add_entry {
	my ($r, $path, $inode) = @_;
	my ($dir, $name) = $r->place($path) or die "no place for $path";
	$r->{entries}{$dir}{$name} = $inode->{id};
	$r->{entries}{ $inode->{id} } //= {} if $inode->{kind} eq 'directory';
	$r->meta($path, [$dir, $inode->{id}], 'entry', $dir, $name, $inode->{id});
}

sub add_size {
	my ($r, $path, $inode, $size) = @_;
	my $event = $r->meta($path, [$inode->{id}], 'size', $inode->{id}, $size);
	push @{ $inode->{ops} }, { size => $size, event => $event };
	$r->meta($path, [$inode->{id}], 'time', $inode->{id});
}

sub add_data {
	my ($r, $path, $inode, $at, $bytes) = @_;
	push @{ $r->{events} }, { kind => 'data', inode => $inode->{id}, n => $inode->{written},
		text => join(' ', 'data', $path =~ s/^\Q$r->{top}\E\///r, $at, length $bytes) };
	my $in_place = $at + length $bytes <= length $r->content_now($inode);
	push @{ $inode->{ops} }, { at => $at, bytes => $bytes, n => $inode->{written}++, in_place => $in_place };
	$r->meta($path, [$inode->{id}], 'time', $inode->{id});
}

# How a file's content is now, with all that was written.
sub content_now {
	my ($r, $inode) = @_;
	return content($inode, sub { 1 }, sub { 'all' });
}

my %take = (
	open => sub { $_[0]->opened(path_at(undef, $_[2]), $_[3], $_[4]) },
	openat => sub { $_[0]->opened(path_at($_[2], $_[3]), $_[4], $_[5]) },
	creat => sub { $_[0]->opened(path_at(undef, $_[2]), 'O_CREAT|O_TRUNC', $_[3]) },
	mkdir => sub { $_[0]->made('directory', path_at(undef, $_[2]), $_[3]) },
	mkdirat => sub { $_[0]->made('directory', path_at($_[2], $_[3]), $_[4]) },
	symlink => sub { $_[0]->linked($_[2], path_at(undef, $_[3])) },
	symlinkat => sub { $_[0]->linked($_[2], path_at($_[3], $_[4])) },
	link => sub { $_[0]->hard_linked(path_at(undef, $_[2]), path_at(undef, $_[3])) },
	linkat => sub { $_[0]->hard_linked(path_at($_[2], $_[3]), path_at($_[4], $_[5])) },
	unlink => sub { $_[0]->gone(path_at(undef, $_[2])) },
	rmdir => sub { $_[0]->gone(path_at(undef, $_[2])) },
	unlinkat => sub { $_[0]->gone(path_at($_[2], $_[3])) },
	rename => sub { $_[0]->renamed(path_at(undef, $_[2]), path_at(undef, $_[3])) },
	renameat => sub { $_[0]->renamed(path_at($_[2], $_[3]), path_at($_[4], $_[5])) },
	chmod => sub { $_[0]->changed_mode(path_at(undef, $_[2]), $_[3]) },
	fchmod => sub { $_[0]->changed_mode(path_of_fd($_[2]), $_[3]) },
	fchmodat => sub { $_[0]->changed_mode(path_at($_[2], $_[3]), $_[4]) },
	truncate => sub { $_[0]->resized(path_at(undef, $_[2]), $_[3]) },
	ftruncate => sub { $_[0]->resized(path_of_fd($_[2]), $_[3]) },
	fallocate => sub { $_[0]->allocated(path_of_fd($_[2]), @_[3 .. 5]) },
	lseek => sub { $_[0]->sought(path_of_fd($_[2]), $_[1]) },
	write => sub { $_[0]->wrote(path_of_fd($_[2]), undef, $_[3], $_[1]) },
	pwrite64 => sub { $_[0]->wrote(path_of_fd($_[2]), $_[5], $_[3], $_[1]) },
	writev => sub { $_[0]->wrote(path_of_fd($_[2]), undef, join('', @_[3 .. $#_ - 1]), $_[1]) },
	pwritev => sub { $_[0]->wrote(path_of_fd($_[2]), $_[-1], join('', @_[3 .. $#_ - 2]), $_[1]) },
	pwritev2 => sub { $_[0]->wrote(path_of_fd($_[2]), $_[-2], join('', @_[3 .. $#_ - 3]), $_[1]) },
	copy_file_range => sub { $_[0]->copied(path_of_fd($_[2]), $_[3], path_of_fd($_[4]), $_[5], $_[1]) },
	sendfile => sub { $_[0]->copied(path_of_fd($_[3]), $_[4], path_of_fd($_[2]), 'NULL', $_[1]) },
	ioctl => sub { $_[0]->cloned(path_of_fd($_[2]), $_[3], $_[4]) },
);
$take{renameat2} = $take{renameat};

sub take_calls {
	my ($r, @calls) = @_;
	my %started;
	for my $call (grep { $_->{name} =~ /sync/ } @calls) {
		push @{ $started{ $call->{begun} } }, $call;
	}
	my $main = @calls ? $calls[0]{pid} : 0;
	my (%root, $line);
	$r->{children} = [];
	for my $call (map { ($_->{name} =~ /sync/ ? [$_, 'begin', $_->{begun}] : (), [$_, 'end', $_->{line}]) } @calls) {
		push @{ $line->{ $call->[2] } }, $call;
	}
	for my $n (sort { $a <=> $b } keys %$line) {
		for (@{ $line->{$n} }) {
			my ($call, $when) = @$_;
			my $from = @{ $r->{events} };
			$r->take_process($main, \%root, $call);
			$r->take_call($call, $when);
			$_->{by} = $root{ $call->{pid} } || 0 for @{ $r->{events} }[$from .. $#{ $r->{events} }];
		}
	}
	delete $r->{entries};
}

# Which of the program's own children a process belongs to, and from where to where that is not waited for.
sub take_process {
	my ($r, $main, $root, $call) = @_;
	my ($name, $pid) = @$call{qw(name pid)};
	if ($name =~ /^(?:clone3?|v?fork)$/) {
		my $is_child = $pid == $main && $call->{args} !~ /CLONE_THREAD/;
		$root->{ $call->{result} } = $is_child ? $call->{result} : $root->{$pid};
		$r->{umask}{ $call->{result} } = $r->{umask}{$pid} if $r->{umask}{$pid};
		push @{ $r->{children} }, { pid => $call->{result}, from => scalar @{ $r->{events} } } if $is_child;
	} elsif ($name =~ /^wait/ && $pid == $main) {
		$_->{to} = @{ $r->{events} } for grep { $_->{pid} == $call->{result} } @{ $r->{children} };
	}
}

sub take_call {
	my ($r, $call, $when) = @_;
	my $name = $call->{name};
	return $r->synced($call, $when) if $name =~ /sync/;
	$r->{mask} = $r->{umask}{ $call->{pid} } // umask;
	$r->{umask}{ $call->{pid} } = oct $call->{args} if $name eq 'umask';
	my $take = $take{$name} or return;
	my @args = split(/, /, $call->{args});
	@args = ($call->{args} =~ /^([^,]+), /, $call->{args} =~ /iov_base="([^"]*)"/g, $call->{args} =~ /\], (.*)$/ ? split(/, /, $1) : ())
		if $name =~ /v2?$/;
	$take->($r, $call->{result}, @args);
}

sub opened {
	my ($r, $path, $flags, $mode) = @_;
	$flags =~ /O_PATH/ and return;
	my $inode = $r->inode_at($path);
	$r->made('file', $path, $mode) if !$inode && $flags =~ /O_CREAT/;
	$inode->{at} = $flags =~ /O_APPEND/ ? length $r->content_now($inode) : 0 if $inode;
	$r->add_size($path, $inode, 0) if $inode && $flags =~ /O_TRUNC/;
	die "$path: is written to" if $inode && $r->{kept_inodes}{ $inode->{id} } && $flags =~ /O_RDWR|O_WRONLY/;
	die "$path: O_SYNC is not in the model" if $inode && $flags =~ /O_D?SYNC/;
}

sub made {
	my ($r, $kind, $path, $mode) = @_;
	$r->place($path) or return;
	$r->add_entry($path, $r->new_inode($kind, (($mode || '0') =~ /^0/ ? oct $mode : 0) & ~$r->{mask}, ''));
}

sub linked {
	my ($r, $to, $path) = @_;
	$r->place($path) or return;
	$r->add_entry($path, $r->new_inode('link', 0777, text_of($to =~ s/^"(.*)"$/$1/r)));
}

sub hard_linked {
	my ($r, $from, $path) = @_;
	my $inode = $r->inode_at($from) or return;
	$r->add_entry($path, $inode);
}

sub gone {
	my ($r, $path) = @_;
	my $inode = $r->inode_at($path) or return;
	my ($dir, $name) = $r->place($path);
	delete $r->{entries}{$dir}{$name};
	$r->meta($path, [$dir, $inode->{id}], 'gone', $dir, $name);
}

sub renamed {
	my ($r, $from, $to) = @_;
	my $inode = $r->inode_at($from) or return;
	my ($dir, $name) = $r->place($from);
	my ($to_dir, $to_name) = $r->place($to);
	delete $r->{entries}{$dir}{$name};
	$r->{entries}{$to_dir}{$to_name} = $inode->{id};
	$r->meta($to, [$dir, $to_dir, $inode->{id}], 'move', $dir, $name, $to_dir, $to_name);
}

sub changed_mode {
	my ($r, $path, $mode) = @_;
	my $inode = $r->inode_at($path) or return;
	$r->meta($path, [$inode->{id}], 'mode', $inode->{id}, oct $mode);
}

sub resized {
	my ($r, $path, $size) = @_;
	my $inode = $r->inode_at($path) or return;
	$r->add_size($path, $inode, $size);
}

sub allocated {
	my ($r, $path, $mode, $at, $length) = @_;
	my $inode = $r->inode_at($path) or return;
	my $size = length $r->content_now($inode);
	if ($mode =~ /PUNCH_HOLE|ZERO_RANGE/) {
		my $end = $mode =~ /KEEP_SIZE/ && $at + $length > $size ? $size : $at + $length;
		$r->add_data($path, $inode, $at, "\0" x ($end - $at)) if $end > $at;
	} elsif ($mode eq '0') {
		$r->add_size($path, $inode, $at + $length) if $at + $length > $size;
	} elsif ($mode ne 'FALLOC_FL_KEEP_SIZE') {
		die "$path: fallocate $mode is not in the model";
	}
}

sub sought {
	my ($r, $path, $at) = @_;
	my $inode = $r->inode_at($path) or return;
	$inode->{at} = $at;
}

sub wrote {
	my ($r, $path, $at, $text, $length) = @_;
	my $inode = $r->inode_at($path) or return;
	return if $inode->{kind} ne 'file';
	my $bytes = substr(text_of($text =~ s/^"(.*)"$/$1/r), 0, $length);
	$r->add_data($path, $inode, $at // $inode->{at}, $bytes);
	$inode->{at} += $length if !defined $at;
}

sub copied {
	my ($r, $from, $from_at, $path, $at, $length) = @_;
	my $inode = $r->inode_at($path) or return;
	my $source = $r->inode_at($from) or die "$path: copied from elsewhere, $from";
	my ($first) = $from_at =~ /(\d+)/ ? $1 : $source->{at};
	my $target = $at =~ /(\d+)/ ? $1 : $inode->{at};
	$r->add_data($path, $inode, $target, substr($r->content_now($source), $first, $length)) if $length > 0;
	$source->{at} += $length if $from_at !~ /\d/;
	$inode->{at} += $length if $at !~ /\d/;
}

sub cloned {
	my ($r, $path, $what, $from) = @_;
	return if $what !~ /FICLONE/;
	my $inode = $r->inode_at($path) or return;
	$r->add_data($path, $inode, 0, $r->content_now($r->inode_at(path_of_fd($from))));
}

sub synced {
	my ($r, $call, $when) = @_;
	my ($name, $args) = @$call{qw(name args)};
	my $path = $name eq 'sync' ? undef : path_of_fd($args);
	my $inode = defined $path ? $r->inode_at($path) : undef;
	return if $name ne 'sync' && !$inode;
	$call->{sync} //= $r->{syncs}++;
	push @{ $r->{events} }, { kind => $when, sync => $call->{sync}, inode => $inode ? $inode->{id} : undef, data => $name eq 'fdatasync',
		domain => $name eq 'sync' ? undef : $r->domain($path), whole => $name =~ /^sync(?:fs)?$/ ? 1 : 0,
		text => "$name " . ($path // '') =~ s/^\Q$r->{top}\E\///r };
}

# ---- the states after a cut ----

# The content of a file: of sizes those that are there, of data as much as how() says: all, none, half, tail or zero.
sub content {
	my ($inode, $is_there, $how) = @_;
	my $content = $inode->{content};
	for my $op (@{ $inode->{ops} }) {
		if (defined $op->{size}) {
			next if !$is_there->($op->{event});
			$content = length $content > $op->{size} ? substr($content, 0, $op->{size}) : $content . "\0" x ($op->{size} - length $content);
			next;
		}
		my $as = $how->($op);
		next if $as eq 'none' || $as eq 'zero' && $op->{in_place};
		my $bytes = $as eq 'zero' ? "\0" x length $op->{bytes} : $op->{bytes};
		my $at = $op->{at};
		my $half = int(length($bytes) / 2);
		$half = max(0, int(($at + $half) / 512) * 512 - $at) if $op->{in_place};
		$bytes = substr($bytes, 0, $half) if $as eq 'head';
		($at, $bytes) = ($at + $half, substr($bytes, $half)) if $as eq 'rest';
		$content .= "\0" x ($at - length $content) if length $content < $at;
		substr($content, $at, length $bytes) = $bytes;
	}
	return $content;
}

# How one of the writes from $safe to $issued of a file ends, if the file's end like that.
sub fate {
	my ($how, $n, $safe, $issued) = @_;
	return 'all' if $n < $safe;
	return 'none' if $n >= $issued;
	return $how if $how eq 'all' || $how eq 'none' || $how eq 'zero';
	return $how eq 'half' ? 'head' : 'rest' if $issued - $safe == 1;
	my $is_first = $n - $safe < ($issued - $safe) / 2;
	return $is_first == ($how eq 'half') ? 'all' : 'none';
}

my @domains = qw(config state mounted);
my @HOW = qw(all none half tail zero);

# The same events with a child's as early, or as late, as they can be.
sub orders {
	my ($r, @events) = @_;
	my @orders = (\@events);
	for my $child (grep { defined $_->{to} } @{ $r->{children} }) {
		my @window = @events[$child->{from} .. $child->{to} - 1];
		my @theirs = grep { $_->{by} == $child->{pid} } @window;
		my @ours = grep { $_->{by} != $child->{pid} } @window;
		next if !@theirs || !@ours;
		my @before = @events[0 .. $child->{from} - 1];
		my @after = @events[$child->{to} .. $#events];
		push @orders, [@before, @theirs, @ours, @after], [@before, @ours, @theirs, @after];
	}
	return @orders;
}

# All states after a cut of these events (default: those recorded): {key => {tree, files, final}}, and how many cuts lead to
# them. Final: it is one after the program's end, too.
sub states {
	my ($r, $events) = @_;
	my $all = { states => {}, cuts => 0 };
	$r->states_of_order($_, $all) for $events ? $events : $r->orders(@{ $r->{events} });
	return ($all->{states}, $all->{cuts});
}

sub states_of_order {
	my ($r, $events, $all) = @_;
	my $c = { events => $events, meta => { map { $_ => [] } @domains }, safe => { map { $_ => 0 } @domains }, last => {}, last_size => {},
		safe_data => {}, issued => {}, cover => {}, trees => {}, seen => {}, index => {} };
	for my $k (0 .. @$events) {
		$r->cut_here($c, $all, $k == @$events);
		$r->go_on($c, $events->[$k]) if $k < @$events;
	}
}

sub go_on {
	my ($r, $c, $event) = @_;
	if ($event->{kind} eq 'meta') {
		my $list = $c->{meta}{ $event->{domain} };
		push @$list, $event;
		$c->{index}{$event} = @$list;
		$c->{last}{ $event->{domain} }{$_} = @$list for @{ $event->{of} };
		$c->{last_size}{ $event->{domain} }{$_} = @$list for $event->{size} ? @{ $event->{of} } : ();
	} elsif ($event->{kind} eq 'data') {
		$c->{issued}{ $event->{inode} }++;
	} elsif ($event->{kind} eq 'begin') {
		$c->{cover}{ $event->{sync} } = cover($c, $event);
	} else {
		my $cover = $c->{cover}{ $event->{sync} } or return;
		raise($c->{safe}, $_, $cover->{safe}{$_}) for keys %{ $cover->{safe} };
		raise($c->{safe_data}, $_, $cover->{data}{$_}) for keys %{ $cover->{data} };
	}
}

sub raise {
	my ($of, $key, $to) = @_;
	$of->{$key} = $to if $to > ($of->{$key} // 0);
}

# What is on the disk when a sync that begins now has ended.
sub cover {
	my ($c, $event) = @_;
	my $inode = $event->{inode};
	if ($event->{whole}) {
		my @domains = $event->{domain} ? $event->{domain} : keys %{ $c->{meta} };
		return { safe => { map { $_ => scalar @{ $c->{meta}{$_} } } @domains }, data => { %{ $c->{issued} } } };
	}
	my $last = $event->{data} ? $c->{last_size} : $c->{last};
	return { safe => { map { $_ => $last->{$_}{$inode} // 0 } keys %{ $c->{meta} } }, data => { $inode => $c->{issued}{$inode} // 0 } };
}

# Every state that a cut at this point leaves: of each journal as many operations as are safe, or more.
sub cut_here {
	my ($r, $c, $all, $is_end) = @_;
	my @points = [];
	for my $domain (@domains) {
		@points = map { my $point = $_; map { [@$point, $_] } $c->{safe}{$domain} .. @{ $c->{meta}{$domain} } } @points;
	}
	for my $point (@points) {
		my $names = $c->{trees}{"@$point"} //= $r->names_after($c, @$point);
		$r->cut_data($c, $all, $is_end, $names, "@$point");
	}
}

# The tree of names when so many of the operations of each journal are there: path => inode, modes, times.
sub names_after {
	my ($r, $c, @point) = @_;
	my %there = map { my $n = $_; map { $_ => 1 } @{ $c->{meta}{ $domains[$n] } }[0 .. $point[$n] - 1] } 0 .. $#domains;
	my $entries = copy_entries($r->{entries_before});
	my (%mode, %time);
	for my $n (grep { $there{ $c->{events}[$_] } } 0 .. $#{ $c->{events} }) {
		my ($what, $a, $b, $x, $y) = @{ $c->{events}[$n]{what} };
		$time{$x} = $n if $what eq 'entry';
		$entries->{$a}{$b} = $x if $what eq 'entry';
		delete $entries->{$a}{$b} if $what eq 'gone';
		if ($what eq 'move') {
			my $id = delete $entries->{$a}{$b};
			$entries->{$x}{$y} = $id if defined $id;
		}
		$mode{$a} = $b if $what eq 'mode';
		$time{$a} = $n if $what eq 'time';
	}
	my %path;
	my @left = ['', 0];
	while (my $next = shift @left) {
		my ($dir, $id) = @$next;
		for my $name (keys %{ $entries->{$id} || {} }) {
			$path{"$dir/$name"} = $entries->{$id}{$name};
			push @left, ["$dir/$name", $entries->{$id}{$name}];
		}
	}
	return { path => \%path, mode => \%mode, time => \%time, there => \%there };
}

# Each file that is there and not synced ends in each way, whatever the others do; of more than three, two at a time.
sub cut_data {
	my ($r, $c, $all, $is_end, $names, $prefix) = @_;
	my @open = sort { $a <=> $b } grep { ($c->{issued}{$_} // 0) > ($c->{safe_data}{$_} // 0) } values %{ $names->{path} };
	my @fates = {};
	for my $id (@open) {
		my @next = map { my $fate = $_; map { { %$fate, $id => $_ } } @HOW } @fates;
		@next = grep { my $fate = $_; (grep { $_ ne 'all' } values %$fate) <= 2 } @next if @open > 3;
		@fates = @next;
	}
	for my $fate (@fates) {
		$all->{cuts}++;
		my $counts = join ' ', map { "$_:" . ($c->{safe_data}{$_} // 0) . "-$c->{issued}{$_}$fate->{$_}" } sort keys %$fate;
		next if $c->{seen}{"$prefix $counts $is_end"}++;
		$r->keep_state($c, $all, $is_end, $names, $fate);
	}
}

sub keep_state {
	my ($r, $c, $all, $is_end, $names, $fate) = @_;
	my (%tree, %files, @key);
	for my $path (sort keys %{ $names->{path} }) {
		my $id = $names->{path}{$path};
		my $inode = $r->{inode}{$id};
		my ($content, $digest) = $r->content_after($c, $inode, $names, $fate->{$id} // 'all');
		my $time = defined $names->{time}{$id} ? $r->{began} + 1 + $names->{time}{$id} / 1000 : $inode->{time};
		$tree{$path} = [$inode->{kind}, $names->{mode}{$id} // $inode->{mode}, $content, $time];
		$files{$path} = $r->{kept_inodes}{$id} if $r->{kept_inodes}{$id};
		push @key, "$path $tree{$path}[1] $digest" if $path !~ /\/\.lock$/;
	}
	my @by_time = sort { $tree{$a}[3] <=> $tree{$b}[3] || $a cmp $b } keys %tree;
	my $state = $all->{states}{ md5_hex(join("\n", @key, @by_time)) } //= { tree => \%tree, files => \%files, final => 0 };
	$state->{final} ||= $is_end;
}

sub content_after {
	my ($r, $c, $inode, $names, $how) = @_;
	return ($inode->{content}, $inode->{digest} //= md5_hex($inode->{content})) if !@{ $inode->{ops} };
	my $id = $inode->{id};
	my ($safe, $issued) = ($c->{safe_data}{$id} // 0, $c->{issued}{$id} // 0);
	my $sizes = grep { $_->{event} && $names->{there}{ $_->{event} } } @{ $inode->{ops} };
	my $memo = $r->{memo}{"$id $safe $issued $how $sizes"} //= do {
		my $content = content($inode, sub { $names->{there}{ $_[0] } }, sub { fate($how, $_[0]{n}, $safe, $issued) });
		[$content, md5_hex($content)];
	};
	return @$memo;
}

sub DESTROY { system('rm', '-rf', "$_[0]{top}.kept.$_[0]{n}") }

# Makes a state on the disk, where "config" may be another inode. A journal knows its directory of definitions by the inode, which
# a power cut does not change.
sub make_state {
	my ($r, $state) = @_;
	my $tree = { %{ $state->{tree} } };
	for my $path (grep { /\/\.journal[^\/]*$/ } keys %$tree) {
		my @file = @{ $tree->{$path} };
		$file[2] =~ s/("inode": )\Q$r->{config}\E\b/$1INODE/ and $tree->{$path} = \@file;
	}
	make_tree($r->{top}, $tree, $state->{files});
}

1;
