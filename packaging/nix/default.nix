# nix-build packaging/nix. The version is that of the Makefile.
{
  pkgs ? import <nixpkgs> { },
}:

let
  inherit (pkgs) lib;
  makefile = lib.splitString "\n" (builtins.readFile ../../Makefile);
in
pkgs.stdenv.mkDerivation {
  pname = "qemu-supervise";
  version = lib.removePrefix "VERSION = " (lib.findFirst (lib.hasPrefix "VERSION = ") null makefile);
  src = lib.cleanSource ../..;

  nativeBuildInputs = [ pkgs.pkg-config ];
  buildInputs = [
    pkgs.jansson
    pkgs.libevent
    pkgs.rabbitmq-c
  ];
  nativeCheckInputs = [
    pkgs.cmocka
    pkgs.perl
    pkgs.qemu-utils
  ];

  makeFlags = [
    "PREFIX=$(out)"
    "SYSCONFDIR=$(out)/etc"
    "OCFDIR=$(out)/lib/ocf"
    "RESTART_PAUSE=yes"
  ];

  doCheck = true;
  checkPhase = ''
    make $makeFlags units
    CMOCKA_MESSAGE_OUTPUT=TAP prove $(ls t/unit-*.c | sed 's/\.c$//')
  '';

  meta = {
    description = "Runs virtual machines under an init system, and shuts them down cleanly";
    license = lib.licenses.isc;
    platforms = lib.platforms.linux;
    mainProgram = "vmconf";
  };
}
