# A program on a terminal of its own, at which somebody types.
package Pty;

use strict;
use warnings;
use Fcntl qw(F_SETFD FD_CLOEXEC);
use IO::Pty;
use POSIX ();
use T ();

# Starts a program there; env: what is different in its environment (undef: not set).
sub new {
	my ($class, $env, @command) = @_;
	my $pty = IO::Pty->new;
	$pty->blocking(0);
	$pty->set_winsize(25, 100);
	fcntl($_, F_SETFD, FD_CLOEXEC) for $pty, $pty->slave;
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		$pty->make_slave_controlling_terminal;
		open($_->[0], $_->[1], $pty->slave) or POSIX::_exit(126) for [\*STDIN, '<&'], [\*STDOUT, '>&'], [\*STDERR, '>&'];
		for my $name (keys %$env) {
			defined $env->{$name} ? ($ENV{$name} = $env->{$name}) : delete $ENV{$name};
		}
		{ no warnings 'exec'; exec { $command[0] } @command; }
		POSIX::_exit(127);
	}
	return bless { pty => $pty, pid => $pid, screen => '' }, $class;
}

sub type {
	my ($p, $text) = @_;
	syswrite($p->{pty}, $text) == length $text or die "cannot type: $!";
}

# Waits until it has written something that matches, takes all up to its end, and returns that.
sub expect {
	my ($p, $what) = @_;
	T::wait_until(sub { "$what on the terminal:\n$p->{screen}" }, sub {
		sysread($p->{pty}, $p->{screen}, 65536, length $p->{screen});
		return $p->{screen} =~ $what;
	});
	$p->{screen} =~ s/\A(.*?$what)//s or die;
	return $1;
}

# The terminal is taken away.
sub close {
	my ($p) = @_;
	CORE::close($p->{pty});
	kill('KILL', $p->{pid});
	waitpid($p->{pid}, 0);
}

1;
