#!/usr/bin/perl
# What the compiler can harden is hardened in the programs, and a packager's own flags override ours.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;

need('make', 'readelf');
my @programs = ($ENV{T_SUPERVISE} || "$top/qemu-supervise", $ENV{T_VMCONF} || "$top/vmconf");
need_that('the programs are built', sub { !grep { !-x } @programs });

# With the variables of the make that runs the tests, which has built the programs, but not its jobs.
my ($variables) = ($ENV{MAKEFLAGS} // '') =~ /(?:^| )(-- .*)/s;
delete @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL)};
$ENV{MAKEFLAGS} = $variables if defined $variables;

sub asked {
	my ($recipe, @variables) = @_;
	my ($status, $out, $errors) = run_command('make', '-s', '-C', $top, "--eval=asked: ; \@$recipe", 'asked', @variables);
	diag($errors) if $status;
	return $out;
}

my $compile = '$(filter-out -MMD -MP,$(COMPILE))';
my $taken = asked('echo "$(HARDENING)"');
my $fortified = asked("echo '\\#include <stdio.h>' | $compile -dM -E -");

# What readelf says of it: of which flag, with which of its options, what.
my @rows = (
	['-pie', '-h', qr/Type:\s+DYN/, 'position-independent'],
	['-Wl,-z,relro', '-l', qr/GNU_RELRO/, 'its relocations are read-only'],
	['-Wl,-z,now', '-d', qr/BIND_NOW|FLAGS_1.*NOW/, 'all of them at the start'],
	['-fstack-protector-strong', '-s', qr/__stack_chk_fail/, 'stack protector'],
);

for my $program (@programs) {
	my %says = map { $_ => (run_command('readelf', '-W', $_, $program))[1] } qw(-h -l -d -s);
	my ($name) = $program =~ m{([^/]+)\z};
	for my $row (@rows) {
		my ($flag, $option, $what, $words) = @$row;
		SKIP: {
			skip("no $flag", 1) if index(" $taken", " $flag") < 0;
			like($says{$option}, $what, "$name: $words");
		}
	}
	SKIP: {
		skip('no _FORTIFY_SOURCE', 1) unless $fortified =~ /__GLIBC__/ && $fortified =~ /__USE_FORTIFY_LEVEL [1-9]/;
		like($says{-s}, qr/__(?!stack)\w+_chk\b/, "$name: fortified");
	}
	like($says{-l}, qr/GNU_STACK.* RW /, "$name: no stack that can be executed");
}

delete $ENV{MAKEFLAGS};

sub level {
	my (@variables) = @_;
	return asked("$compile -dM -E -x c /dev/null", @variables) =~ /_FORTIFY_SOURCE (\d)/ ? $1 : 'none';
}

SKIP: {
	skip('no _FORTIFY_SOURCE', 5) if level() ne '3';
	is(level('CC=cc -D_FORTIFY_SOURCE=2'), '3', 'a compiler that defines _FORTIFY_SOURCE itself');
	is(level('CFLAGS=-O2 -D_FORTIFY_SOURCE=2'), '2', 'the CFLAGS of a packager override it');
	is(level('CPPFLAGS=-D_FORTIFY_SOURCE=2'), '2', 'and CPPFLAGS');
	is(level('CFLAGS=-O2 -U_FORTIFY_SOURCE'), 'none', 'also to have none');
	is(level('HARDENING='), 'none', 'HARDENING= is none of it');
}
unlike(asked('echo "$(HARDENING)"', 'CC=cc -fno-such-flag'), qr/-f/, 'a compiler that takes none of them');

# Objects of another compiler, or of other flags, must not be linked with new ones.
sub compiled {
	my ($status, $out, $errors) = run_command('make', '-C', $top, "O=$work/objects", @_, "$work/objects/lib/xalloc.o");
	diag($errors) if $status;
	return scalar(() = $out =~ / -c -o /g);
}
is(compiled(), 1, 'an object');
is(compiled(), 0, 'is not compiled again');
is(compiled($_), 1, "but with $_") for 'CFLAGS=-O1', 'CPPFLAGS=-DX', 'HARDENING=', 'PREFIX=/usr';

done_testing;
