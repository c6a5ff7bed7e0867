/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the simulated models take, in KiB. Projections are bfp8 (1088 bytes for 1024 values), the
 * MLP of 70B bfp4, embeddings and the small models bf16; a page of the KV cache holds 32 tokens of
 * 16 users, all layers. The L1 figures are plausible rather than measured.
 */
#ifndef TTMEM_SIM_MODELS_H
#define TTMEM_SIM_MODELS_H

struct model {
	const char *name;
	unsigned layers;
	unsigned qkv, output, mlp; /* of each layer; mlp is one of MLP_PARTS matrices */
	unsigned embedding, head;
	unsigned kv_page, kv_pages; /* kv_pages: the longest sequence, or 0 for no cache */
	unsigned activation, cb;    /* the largest of an operation */
	unsigned trace;
};

#define MLP_PARTS      3
#define BUFFERS_PER_OP 3   /* circular buffers, and as many activations */
#define PROGRAM_KIB    384 /* the kernels of one program, on all cores */
#define PROGRAMS       4
#define L1_SMALL_KIB   512

#define MODEL_NAMES "llama-8b, llama-70b, mistral-7b, whisper, resnet50"

static const struct model models[] = {
	{"llama-8b", 32, 26112, 17408, 60928, 1026048, 545088, 34816, 64, 3584, 4096, 32768},
	{"llama-70b", 80, 87040, 69632, 129024, 2052096, 1090176, 87040, 64, 7168, 5120, 98304},
	{"mistral-7b", 32, 26112, 17408, 60928, 256000, 136000, 34816, 64, 3584, 4096, 30720},
	{"whisper", 64, 9600, 3200, 10666, 129664, 0, 2560, 28, 1920, 2048, 16384},
	{"resnet50", 16, 704, 1408, 320, 0, 4000, 0, 0, 12544, 3072, 8192},
};

#endif
