/* What "info registers -a" says of the guest's CPUs: whole, in part, and what is no such text. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xalloc.h"
#include "supervise/cpus.h"

/* Of QEMU 7.2. */
#define BEFORE                                                                                     \
	"RAX=ffff888006de3800 RBX=ffff888006de3864 RCX=0000000000000001 RDX=0000000000000001\r\n"
#define AFTER                                                                                      \
	"ES =0000 0000000000000000 ffffffff 00c00000\r\n"                                          \
	"CR0=80050033 CR2=00007f0bc2a5d1e0 CR3=0000000005650000 CR4=003006f0\r\n"                  \
	"EFER=0000000000000d01\r\n"                                                                \
	"XMM00=0000000000000000 0000000000000000 XMM01=0000000000000000 0000000000000000\r\n"
#define FLAGS(rip, rfl, smm, hlt)                                                                  \
	rip "FL=" rfl " [---Z-P-] CPL=0 II=0 A20=1 SMM=" smm " HLT=" hlt "\r\n"
#define RIP	      "RIP=ffffffff81a0b0cb R"
#define EIP	      "EIP=0000fff0 E"
#define CPU(n, flags) "\r\nCPU#" n "\r\n" BEFORE flags AFTER

#define HALTED	FLAGS(RIP, "00000092", "0", "1")
#define MASKED	FLAGS(RIP, "00000002", "0", "0")
#define IDLE	FLAGS(RIP, "00000246", "0", "1")
#define BUSY	FLAGS(RIP, "00000202", "0", "0")
#define WAITING FLAGS(EIP, "00000002", "0", "1") /* a CPU that was never started */

static void texts(void **state)
{
	static const struct {
		const char *text;
		enum cpus cpus;
	} rows[] = {
		{CPU("0", HALTED), CPUS_HALTED},
		{CPU("0", IDLE), CPUS_LIVE},
		{CPU("0", BUSY), CPUS_LIVE},
		{CPU("0", MASKED), CPUS_MASKED},
		{CPU("0", WAITING), CPUS_HALTED},
		{CPU("0", FLAGS(RIP, "00000002", "1", "1")), CPUS_LIVE}, /* the firmware's mode */
		/* All of them together. */
		{CPU("0", HALTED) CPU("1", HALTED), CPUS_HALTED},
		{CPU("0", HALTED) CPU("1", WAITING), CPUS_HALTED},
		{CPU("0", IDLE) CPU("1", WAITING), CPUS_LIVE},
		{CPU("0", IDLE) CPU("1", HALTED), CPUS_LIVE},
		{CPU("0", HALTED) CPU("1", IDLE), CPUS_LIVE},
		{CPU("0", HALTED) CPU("1", HALTED) CPU("2", BUSY), CPUS_LIVE},
		{CPU("0", HALTED) CPU("1", MASKED), CPUS_MASKED},
		{CPU("0", MASKED) CPU("1", HALTED), CPUS_MASKED},
		{CPU("0", MASKED) CPU("1", IDLE), CPUS_LIVE},
		/* Not all of it, or another text. */
		{NULL, CPUS_NOT_KNOWN},
		{"", CPUS_NOT_KNOWN},
		{HALTED, CPUS_NOT_KNOWN},
		{"CPU#", CPUS_NOT_KNOWN},
		{"CPU#0\r\n" BEFORE AFTER, CPUS_NOT_KNOWN},
		{CPU("0", HALTED) "CPU#1\r\n", CPUS_NOT_KNOWN},
		{CPU("0", HALTED) "CPU#1\r\n" BEFORE, CPUS_NOT_KNOWN},
		{CPU("0", HALTED) "CPU#1\r\n" AFTER CPU("2", HALTED), CPUS_NOT_KNOWN},
		{CPU("0", HALTED HALTED), CPUS_NOT_KNOWN},
		{CPU("0", IDLE HALTED), CPUS_NOT_KNOWN},
		{"CPU#0\r\nRIP=0 RFL=00000092 [--] CPL=0 SMM=0 HLT=", CPUS_NOT_KNOWN},
		{"CPU#0\r\nRIP=0 RFL=00000092 [--] CPL=0 SMM=0\r\nHLT=1\r\n", CPUS_NOT_KNOWN},
		{"CPU#0\r\nRIP=0 RFL=00000092 [--] CPL=0 SMM=0 HLT=\r\n1", CPUS_NOT_KNOWN},
		{"CPU#0\r\nRIP=0 RFL= [--] CPL=0 SMM=0 HLT=1\r\n", CPUS_NOT_KNOWN},
		{"CPU#0\r\nRIP=0 RFL=-1 [--] CPL=0 SMM=0 HLT=1\r\n", CPUS_NOT_KNOWN},
		{"CPU#0\r\nRIP=0 RFL=xyz [--] CPL=0 SMM=0 HLT=1\r\n", CPUS_NOT_KNOWN},
		{"CPU#0\r\nRIP=0 RFL=00000092 [--] CPL=0 HLT=1\r\n", CPUS_NOT_KNOWN},
		{"CPU#0\r\nRIP=0 CPL=0 SMM=0 HLT=1\r\n", CPUS_NOT_KNOWN},
		{"unknown command: 'info registers -a'\r\n", CPUS_NOT_KNOWN},
		/* Numbers that mean something else. */
		{"CPU#0\r\nRIP=0 RFL=00000092 SMM=0 HLT=10\r\n", CPUS_MASKED},
		{"CPU#0\r\nRIP=0 RFL=ffffffffffffffffff SMM=0 HLT=1\r\n", CPUS_LIVE},
		/* The last line may have no end, and lines may have no CR. */
		{"CPU#0\nRIP=0 RFL=00000092 SMM=0 HLT=1", CPUS_HALTED},
		/* Of another machine: arm64. */
		{"CPU#0\r\n PC=ffff80000801c5d4 X00=0000000000000000\r\nPSTATE=60400005 -ZC- "
		 "EL1h\r\n",
		 CPUS_NOT_KNOWN},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (cpus_read(rows[i].text) != rows[i].cpus)
			print_message("row %zu: %s\n", i, rows[i].text ? rows[i].text : "NULL");
		assert_int_equal(cpus_read(rows[i].text), rows[i].cpus);
	}
}

/* Cut off anywhere, it says nothing that is wrong; each piece is in memory of its own. */
static void cut(void **state)
{
	static const char text[] = CPU("0", HALTED) CPU("1", IDLE);
	static const size_t first = sizeof(CPU("0", HALTED)) - 1;

	(void)state;
	for (size_t i = 0; i < sizeof(text); i++) {
		char *piece = xasprintf("%.*s", (int)i, text);
		enum cpus cpus = cpus_read(piece);

		if (i > first + strlen("\r\nCPU#"))
			assert_int_not_equal(cpus, CPUS_HALTED);
		free(piece);
	}
}

/* As many as QEMU can have, and a text without an end. */
static void huge(void **state)
{
	static const char halted[] = CPU("0", HALTED), live[] = CPU("0", IDLE);
	size_t count = 4096, length = sizeof(halted) - 1;
	char *text = xcalloc(count + 2, length);

	(void)state;
	for (size_t i = 0; i < count; i++)
		memcpy(text + i * length, halted, length);
	assert_int_equal(cpus_read(text), CPUS_HALTED);
	memcpy(text + count * length, live, sizeof(live));
	assert_int_equal(cpus_read(text), CPUS_LIVE);
	memset(text, 'x', count * length);
	memcpy(text, "CPU#", 4);
	text[count * length] = '\0';
	assert_int_equal(cpus_read(text), CPUS_NOT_KNOWN);
	memset(text, '\n', count * length);
	memcpy(text, "CPU#", 4);
	assert_int_equal(cpus_read(text), CPUS_NOT_KNOWN);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts),
		cmocka_unit_test(cut),
		cmocka_unit_test(huge),
	};

	return RUN(tests);
}
