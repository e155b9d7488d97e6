#!/usr/bin/perl
# make install puts everything where PREFIX and DESTDIR say, and make uninstall takes it all away again.
use strict;
use warnings;
use File::Find;
use FindBin;
use lib $FindBin::Bin;
use T;

need('make');
need_that('the programs are built', sub { -x "$top/qemu-supervise" && -x "$top/vmconf" });

sub files {
	my ($dir) = @_;
	my @files;
	find(sub { push @files, substr($File::Find::name, length $dir) if -f }, $dir);
	return sort @files;
}

# What this make has from the one that runs the tests is not for it.
delete @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL)};
my @make = ('make', '-C', $top, '-o', 'all', '--no-print-directory', "DESTDIR=$work/root", 'PREFIX=/opt/qs');
my ($status, undef, $errors) = run_command(@make, 'install');
is($status, 0, 'make install') or diag($errors);
is_deeply([files("$work/root")], [map { "/opt/qs/$_" } qw(
	libexec/qemu-supervise/init/none
	sbin/qemu-supervise
	sbin/vmconf
	share/bash-completion/completions/qemu-supervise
	share/bash-completion/completions/vmconf
	share/man/man5/vmconf.5
	share/man/man7/qemu-supervise-init.7
	share/man/man8/qemu-supervise.8
	share/man/man8/vmconf.8
	share/qemu-supervise/vm.schema.json
)], 'every file, and no other');
for my $program (qw(sbin/qemu-supervise sbin/vmconf libexec/qemu-supervise/init/none)) {
	ok(-x "$work/root/opt/qs/$program", "$program can be executed");
}
my ($ran, $version) = run_command("$work/root/opt/qs/sbin/vmconf", '--version');
like($version, qr/^vmconf \d/, 'what was installed runs');
spew("$work/root/opt/qs/sbin/theirs", '');
is((run_command(@make, 'uninstall'))[0], 0, 'make uninstall');
is_deeply([files("$work/root")], ['/opt/qs/sbin/theirs'], 'takes away what is ours');
ok(!-e "$work/root/opt/qs/share/qemu-supervise", 'and our directories');

done_testing;
