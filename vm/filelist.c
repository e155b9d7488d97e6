#include "vm/filelist.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/xalloc.h"
#include "vm/image.h"

struct file *files_add(struct files *files, const char *path, const char *of, enum file_part part)
{
	struct file *file;
	struct stat st;

	files->v = xreallocarray(files->v, files->count + 1, sizeof(files->v[0]));
	file = &files->v[files->count++];
	*file = (struct file){.path = xstrdup(path), .of = xstrdup(of), .part = part, .disk = -1};
	file->there = image_look(path, &st);
	if (file->there) {
		file->dev = st.st_dev;
		file->ino = st.st_ino;
		file->size = st.st_size;
		file->mtime = st.st_mtim.tv_sec * INT64_C(1000000000) + st.st_mtim.tv_nsec;
	}
	return file;
}

void files_add_path(struct files *files, const char *path)
{
	files_add(files, path, path, FILE_NAMED);
}

void files_doubt(struct files *files, char *doubt)
{
	files->doubts =
		xreallocarray(files->doubts, files->doubt_count + 1, sizeof(files->doubts[0]));
	files->doubts[files->doubt_count++] = doubt;
}

bool files_have_path(const struct files *files, const char *path)
{
	for (size_t i = 0; i < files->count; i++)
		if (strcmp(files->v[i].path, path) == 0)
			return true;
	return false;
}

bool file_is_same(const struct file *a, const struct file *b)
{
	if (a->there && b->there)
		return a->dev == b->dev && a->ino == b->ino;
	return strcmp(a->path, b->path) == 0;
}

void files_free(struct files *files)
{
	for (size_t i = 0; i < files->count; i++) {
		free(files->v[i].path);
		free(files->v[i].of);
	}
	for (size_t i = 0; i < files->doubt_count; i++)
		free(files->doubts[i]);
	free(files->v);
	free(files->doubts);
	*files = (struct files){0};
}
