#!/usr/bin/perl
# make html: each manual page, and every link leads somewhere.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;

need(qw(make mandoc xmllint));

delete @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL)};
my ($status, $out, $err) = run_command('make', '-C', $top, 'html', "O=$work");
is("$status $err", '0 ', 'make html');
my ($version) = slurp("$top/Makefile") =~ /^VERSION = (.*)$/m;
my @pages = map { s{.*/}{}r } glob "$top/man/*.[0-9]";
my %html = map { s{.*/}{}r => slurp($_) } glob "$work/html/*.html";
is_deeply([sort keys %html], [sort 'index.html', map { "$_.html" } @pages], 'every page, and an index');
is((run_command('xmllint', '--noout', map { "$work/html/$_" } keys %html))[2], '', 'which are well-formed');

my $ours = join '|', map { s/\.(\d)$/($1)/r =~ s/([()])/\\$1/gr } @pages;
my %mentioned;
for my $file (sort keys %html) {
	my $text = $html{$file};
	my @broken;
	while ($text =~ /\bhref="([^"#]*)(?:#([^"]*))?"/g) {
		my ($to, $at) = ($1 || $file, $2);
		push @broken, $& if !-e "$work/html/$to" || defined $at && index($html{$to}, "id=\"$at\"") < 0;
	}
	is_deeply(\@broken, [], "$file: each link leads somewhere");
	$mentioned{$1}++ while $text =~ m{<a href="([^"]+)\.html">(?:$ours)</a>}g;
	unlike($text =~ s{<a [^>]*>[^<]*</a>}{}gr, qr/\b(?:$ours)/, 'what it says of our pages is a link');
	like($text, qr/qemu-supervise \Q$version\E/, 'of this version');
}
is_deeply([sort keys %mentioned], [sort @pages], 'all pages are reached');
like($html{'index.html'}, qr{<a href="vmconf\.5\.html">vmconf\(5\)</a></dt><dd>\w}, 'the index tells what each is about');

done_testing;
